rule skin_tone:
    """Estimate the skin tone at the border of each picture: a proxy, for subgroups alone."""
    input:
        store=ancient(f"results/images/train/{MAIN.images.recipe}.npy"),
        recipe=f"results/images/train/{MAIN.images.recipe}.json",
    output:
        "results/catalogue/skin_tone.csv",
    log:
        "logs/skin_tone.log",
    benchmark:
        "results/benchmarks/skin_tone.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.skin_tone"),
        recipe=MAIN.images.recipe,
    message:
        "Estimating skin tones"
    script:
        "../../scripts/skin_tone.py"


rule evaluate:
    """Every number of one experiment, with intervals; thresholds come from validation alone."""
    input:
        raw=expand("results/predictions/{{experiment}}/{subset}.csv", subset=SUBSETS),
        calibrated=expand(
            "results/predictions/{{experiment}}/{subset}_calibrated.csv",
            subset=SUBSETS,
        ),
        decision="results/predictions/{experiment}/decision.json",
        catalogue="results/catalogue/train.csv",
        skin_tones="results/catalogue/skin_tone.csv",
    output:
        metrics="results/evaluation/{experiment}/metrics.json",
        tables=expand(
            "results/evaluation/{{experiment}}/{file}",
            file=outputs.table_files(SUBSETS),
        ),
    log:
        "logs/evaluate/{experiment}.log",
    benchmark:
        "results/benchmarks/evaluate/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.report"),
        subsets=SUBSETS,
        bootstrap=CONFIG.evaluation.bootstrap,
        output=subpath(output.metrics, parent=True),
    message:
        "Evaluating {wildcards.experiment}"
    script:
        "../../scripts/evaluate.py"


rule figures:
    """Draw an experiment's figures from the tables that hold their numbers."""
    input:
        metrics="results/evaluation/{experiment}/metrics.json",
        tables=expand(
            "results/evaluation/{{experiment}}/{file}",
            file=outputs.table_files(SUBSETS),
        ),
    output:
        expand(
            "results/evaluation/{{experiment}}/{file}",
            file=outputs.figure_files(SUBSETS),
        ),
    log:
        "logs/figures/{experiment}.log",
    benchmark:
        "results/benchmarks/figures/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.figures", "melanoma.style"),
        subsets=SUBSETS,
        folder=subpath(input.metrics, parent=True),
    message:
        "Drawing the figures of {wildcards.experiment}"
    script:
        "../../scripts/figures.py"


rule predict_changed:
    """Probabilities of one fold's model with metadata hidden or permuted."""
    input:
        model="results/training/{experiment}/fold{fold}/model.ckpt",
        store=ancient(get_store),
        recipe=get_recipe,
        catalogue="results/catalogue/train.csv",
        splits="results/splits.csv",
    output:
        temp("results/predictions/{experiment}/fold{fold}/changed_metadata.npz"),
    log:
        "logs/predict_changed/{experiment}/fold{fold}.log",
    benchmark:
        "results/benchmarks/predict_changed/{experiment}/fold{fold}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    threads: workflow.cores or 1
    resources:
        **cluster.predict_resources(EXPERIMENTS, SITE, tta=CONFIG.evaluation.tta),
    params:
        code=code_version("melanoma.metadata_changes"),
        subset=SUBSETS[-1],
        tta="--tta" if CONFIG.evaluation.tta else "",
        accelerator=get_accelerator,
    message:
        "Predicting with changed metadata, {wildcards.experiment}, fold {wildcards.fold}"
    shell:
        "melanoma predict-changed --model {input.model:q} --store {input.store:q}"
        " --catalogue {input.catalogue:q} --splits {input.splits:q} --fold {wildcards.fold}"
        " --subset {params.subset} {params.tta} --accelerator {params.accelerator}"
        " --output {output:q} --log {log:q}"


rule metadata:
    """What an experiment's figures lose without each metadata field, with intervals."""
    input:
        predictions=of_runs(
            "results/predictions/{experiment}/fold{fold}/changed_metadata.npz"
        ),
        catalogue="results/catalogue/train.csv",
    output:
        table="results/evaluation/{experiment}/metadata.csv",
        figure="results/evaluation/{experiment}/metadata.svg",
    log:
        "logs/metadata/{experiment}.log",
    benchmark:
        "results/benchmarks/metadata/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version(
            "melanoma.evaluation.metadata_table",
            "melanoma.evaluation.figures.metadata",
            "melanoma.style",
        ),
        subset=SUBSETS[-1],
        runs=get_runs,
        bootstrap=CONFIG.evaluation.bootstrap,
    message:
        "Telling what metadata are worth to {wildcards.experiment}"
    script:
        "../../scripts/metadata.py"


rule training_curves:
    """Draw how every fold of an experiment was trained."""
    input:
        of_runs("results/training/{experiment}/fold{fold}/history.csv"),
    output:
        figure="results/evaluation/{experiment}/training_curves.svg",
        table="results/evaluation/{experiment}/training_curves.csv",
    log:
        "logs/training_curves/{experiment}.log",
    benchmark:
        "results/benchmarks/training_curves/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.figures", "melanoma.style"),
        runs=get_runs,
        folder=subpath(output.figure, parent=True),
    message:
        "Drawing the training curves of {wildcards.experiment}"
    script:
        "../../scripts/training_curves.py"


rule compare:
    """Experiments side by side, with paired differences to the first."""
    input:
        predictions=expand(
            "results/predictions/{experiment}/{subset}.csv",
            experiment=EXPERIMENTS,
            subset=SUBSETS[-1],
        ),
        models=models_with_seeds(),
        catalogue="results/catalogue/train.csv",
    output:
        "results/evaluation/comparison.csv",
    log:
        "logs/compare.log",
    benchmark:
        "results/benchmarks/compare.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.compare", "melanoma.evaluation.combine"),
        experiments=list(EXPERIMENTS),
        runs=runs_with_seeds(),
        subset=SUBSETS[-1],
        bootstrap=CONFIG.evaluation.bootstrap,
    message:
        "Comparing {params.experiments}"
    script:
        "../../scripts/compare.py"


rule comparison_figure:
    """Draw the comparison of experiments."""
    input:
        "results/evaluation/comparison.csv",
    output:
        "results/evaluation/comparison.svg",
    log:
        "logs/comparison_figure.log",
    benchmark:
        "results/benchmarks/comparison_figure.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.figures", "melanoma.style"),
    message:
        "Drawing the comparison of experiments"
    script:
        "../../scripts/comparison_figure.py"


rule provenance:
    """What the results were made from, with and on."""
    input:
        tables=provenance_tables(),
        recipes=sorted(
            {
                f"results/images/train/{e.images.recipe}.json"
                for e in EXPERIMENTS.values()
            }
        ),
        restarts=[
            path
            for name in EXPERIMENTS
            for path in files_of_runs(
                name, "results/training/{experiment}/fold{fold}/restarts.csv"
            )
        ],
        results=provenance_results(),
    output:
        "results/provenance.json",
    log:
        "logs/provenance.log",
    benchmark:
        "results/benchmarks/provenance.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        config=CONFIG.model_dump(mode="json"),
        code=code_version("melanoma.provenance"),
        results=subpath(output[0], parent=True),
        checkout=lambda wildcards, resources: workflow.basedir,
    message:
        "Writing down what the results were made from"
    script:
        "../../scripts/provenance.py"
