rule match_official:
    """Find images of the official test set that are also in training."""
    input:
        train="results/catalogue/train.csv",
        test="results/catalogue/test.csv",
        train_archive="resources/isic2019/train/images.zip",
        test_archive="resources/isic2019/test/images.zip",
    output:
        "results/catalogue/official_matches.csv",
    log:
        "logs/match_official.log",
    benchmark:
        "results/benchmarks/match_official.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.duplicates"),
    message:
        "Looking for official test images in training"
    script:
        "../../scripts/match_official.py"


rule official:
    """The main experiment on the official test set: submission, and score with intervals."""
    input:
        official=files_of_runs(
            MAIN.name, "results/predictions/{experiment}/fold{fold}/official.csv"
        ),
        validation=files_of_runs(
            MAIN.name, "results/predictions/{experiment}/fold{fold}/val.csv"
        ),
        catalogue="results/catalogue/test.csv",
        training="results/catalogue/train.csv",
        matches=get_official_matches(),
    output:
        report(
            directory("results/official"),
            patterns=["{page,index}.html"],
            caption="../report/official.rst",
            category=plan.category("Evaluation"),
            labels={
                "figure": plan.OFFICIAL.title,
                "experiment": MAIN.name,
                "subset": plan.SUBSETS["official"],
            },
        ),
    log:
        "logs/official.log",
    benchmark:
        "results/benchmarks/official.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version(
            "melanoma.evaluation.official",
            "melanoma.evaluation.figures",
            "melanoma.pages",
            "melanoma.style",
        ),
        experiment=MAIN.name,
        captions=get_captions([plan.OFFICIAL]),
        matched=CONFIG.evaluation.match_official,
        ood=CONFIG.evaluation.ood,
        bootstrap=CONFIG.evaluation.bootstrap,
        runs=[run.name for run in RUNS[MAIN.name]],
    message:
        "Scoring the official test set"
    script:
        "../../scripts/official.py"
