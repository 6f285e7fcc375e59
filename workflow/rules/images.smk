rule remove_hair:
    """Decode a shard of the archive to just above the working scale and remove hair."""
    input:
        archive="resources/isic2019/{set}/images.zip",
        catalogue="results/catalogue/{set}.csv",
    output:
        temp(
            "results/images/{set}/frames/{hair_removal}-{size}/{shard}-of-{shards}.frames"
        ),
    log:
        "logs/remove_hair/{set}/{hair_removal}-{size}/{shard}-of-{shards}.log",
    benchmark:
        "results/benchmarks/remove_hair/{set}/{hair_removal}-{size}/{shard}-of-{shards}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.shard_resources(EXPERIMENTS),
    params:
        code=code_version("melanoma.shards"),
        number=get_shard_number,
    message:
        "Removing hair ({wildcards.hair_removal}), {wildcards.set} shard {params.number} of {wildcards.shards}"
    script:
        "../../scripts/remove_hair.py"


rule resize:
    """Frame a shard's pictures as squares of the final size."""
    input:
        frames="results/images/{set}/frames/{hair_removal}-{size}/{shard}-of-{shards}.frames",
    output:
        temp(
            "results/images/{set}/resized/{hair_removal}-{framing}-{size}/{shard}-of-{shards}.npy"
        ),
    log:
        "logs/resize/{set}/{hair_removal}-{framing}-{size}/{shard}-of-{shards}.log",
    benchmark:
        "results/benchmarks/resize/{set}/{hair_removal}-{framing}-{size}/{shard}-of-{shards}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.shard_resources(EXPERIMENTS),
    params:
        code=code_version("melanoma.shards"),
        number=get_shard_number,
    message:
        "Resizing to {wildcards.size} px, {wildcards.set} shard {params.number} of {wildcards.shards}"
    script:
        "../../scripts/resize.py"


rule pack:
    """Write the image store, one shard after the other."""
    input:
        shards=get_image_shards,
        catalogue="results/catalogue/{set}.csv",
    output:
        store="results/images/{set}/{hair_removal}-{framing}-{size}.npy",
        index="results/images/{set}/{hair_removal}-{framing}-{size}.csv",
        recipe="results/images/{set}/{hair_removal}-{framing}-{size}.json",
    log:
        "logs/pack/{set}/{hair_removal}-{framing}-{size}.log",
    benchmark:
        "results/benchmarks/pack/{set}/{hair_removal}-{framing}-{size}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.pack_resources(EXPERIMENTS),
    params:
        code=code_version("melanoma.shards", "melanoma.store"),
    message:
        "Packing the {wildcards.set} image store"
    script:
        "../../scripts/pack.py"


rule sheets:
    """Show what was trained on: examples of each class, hair removal, near-duplicates."""
    input:
        archive="resources/isic2019/train/images.zip",
        catalogue="results/catalogue/train.csv",
        duplicates="results/catalogue/train_duplicates.csv",
        splits="results/splits.csv",
        store=ancient(f"results/images/train/{MAIN.images.recipe}.npy"),
        recipe=f"results/images/train/{MAIN.images.recipe}.json",
    output:
        classes="results/sheets/classes.png",
        hair="results/sheets/hair_removal.png",
        duplicates="results/sheets/duplicates.png",
    log:
        "logs/sheets.log",
    benchmark:
        "results/benchmarks/sheets.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.sheets", "melanoma.style"),
        images=MAIN.images.model_dump(exclude={"shards"}),
    message:
        "Drawing what is trained on"
    script:
        "../../scripts/sheets.py"
