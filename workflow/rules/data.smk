rule weights:
    """Fetch the pretrained backbone's weights on the submit host and verify their hash."""
    output:
        "resources/weights/{file}",
    log:
        "logs/weights/{file}.log",
    benchmark:
        "results/benchmarks/weights/{file}.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        source=get_weights_source,
    message:
        "Fetching pretrained weights {wildcards.file}"
    script:
        "../../scripts/weights.py"


rule download:
    """Fetch one official file, resuming where it broke off; link a local one where it lies."""
    output:
        "resources/isic2019/{set}/{file}",
    log:
        "logs/download/{set}/{file}.log",
    benchmark:
        "results/benchmarks/download/{set}/{file}.tsv"
    wildcard_constraints:
        file=r"images\.zip|ground_truth\.csv|metadata\.csv",
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        source=get_source,
    message:
        "Fetching {wildcards.set} {wildcards.file} from {params.source}"
    script:
        "../../scripts/download.py"


rule inspect:
    """Read each JPEG of a shard once: size, checksum, whether it decodes, and a fingerprint."""
    input:
        archive="resources/isic2019/{set}/images.zip",
    output:
        temp("results/inspect/{set}/{shard}-of-{shards}.csv"),
    log:
        "logs/inspect/{set}/{shard}-of-{shards}.log",
    benchmark:
        "results/benchmarks/inspect/{set}/{shard}-of-{shards}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.inspect_resources(),
    params:
        code=code_version("melanoma.inspection"),
        number=get_shard_number,
    message:
        "Inspecting {wildcards.set} images, shard {params.number} of {wildcards.shards}"
    script:
        "../../scripts/inspect.py"


rule gather_inspect:
    """Join the inspected shards; kept, since reading the archive once is enough."""
    input:
        shards=get_inspected_shards,
    output:
        "results/inspect/{set}.csv",
    log:
        "logs/gather_inspect/{set}.log",
    benchmark:
        "results/benchmarks/gather_inspect/{set}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.inspection"),
    message:
        "Joining what was read of the {wildcards.set} images"
    script:
        "../../scripts/gather_inspect.py"


rule catalogue:
    """Join tables, archive and inspection into one typed table; name every inconsistency."""
    input:
        archive="resources/isic2019/{set}/images.zip",
        ground_truth="resources/isic2019/{set}/ground_truth.csv",
        metadata=get_metadata,
        inspected="results/inspect/{set}.csv",
    output:
        catalogue="results/catalogue/{set}.csv",
        audit="results/catalogue/{set}_audit.csv",
        quarantine="results/catalogue/{set}_quarantine.csv",
        duplicates="results/catalogue/{set}_duplicates.csv",
    log:
        "logs/catalogue/{set}.log",
    benchmark:
        "results/benchmarks/catalogue/{set}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.cataloguing"),
        metadata=lambda wildcards: bool(get_metadata(wildcards)),
        sources=get_sources,
        near_duplicates=CONFIG.splits.near_duplicates,
    message:
        "Joining the tables of the {wildcards.set} set"
    script:
        "../../scripts/catalogue.py"
