rule split:
    """Share whole lesions out over training, validation and test, or check a user's splits."""
    input:
        catalogue="results/catalogue/train.csv",
        own=CONFIG.splits.file or [],
    output:
        splits="results/splits.csv",
        audit="results/splits_audit.csv",
    log:
        "logs/split.log",
    benchmark:
        "results/benchmarks/split.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        settings=CONFIG.splits.model_dump(exclude={"file", "near_duplicates"}),
        own=CONFIG.splits.file,
        code=code_version(
            "melanoma.splits", "melanoma.own_splits", "melanoma.split_audit"
        ),
    message:
        "Splitting by lesion"
    script:
        "../../scripts/split.py"
