rule train:
    """Train one fold of one experiment: a process per GPU, resumed where it was stopped."""
    input:
        # Ancient: the recipe holds the store's checksum, which a new date doesn't change.
        store=ancient(get_store),
        recipe=get_recipe,
        catalogue="results/catalogue/train.csv",
        splits="results/splits.csv",
        weights=get_weights,
    output:
        model="results/training/{experiment}/fold{fold}/model.ckpt",
        last="results/training/{experiment}/fold{fold}/last.ckpt",
        history="results/training/{experiment}/fold{fold}/history.csv",
        restarts="results/training/{experiment}/fold{fold}/restarts.csv",
    log:
        "logs/train/{experiment}/fold{fold}.log",
    benchmark:
        "results/benchmarks/train/{experiment}/fold{fold}.tsv"
    retries: tries(20, here=True)
    conda:
        "../envs/melanoma.yaml"
    threads: workflow.cores or 1
    resources:
        **cluster.train_resources(EXPERIMENTS, SITE),
    params:
        settings=get_settings,
        code=code_version("melanoma.training"),
        execution=get_execution,
        launcher=get_launcher,
        weights=lambda wildcards, input: (
            f"--weights {quote(input.weights)}" if input.weights else ""
        ),
        output=subpath(output.model, parent=True),
        tensorboard=get_tensorboard,
    message:
        "Training {wildcards.experiment}, fold {wildcards.fold}"
    shell:
        "{params.launcher} melanoma train --settings {params.settings:q}"
        " --execution {params.execution:q} --code {params.code} --fold {wildcards.fold}"
        " --store {input.store:q} --catalogue {input.catalogue:q} --splits {input.splits:q}"
        " {params.weights} --output {params.output:q} --tensorboard {params.tensorboard:q}"
        " --log {log:q}"


rule predict:
    """Raw class probabilities of one fold's model on one subset."""
    input:
        model="results/training/{experiment}/fold{fold}/model.ckpt",
        store=ancient(get_store),
        recipe=get_recipe,
        catalogue=get_subset_catalogue,
        splits="results/splits.csv",
    output:
        "results/predictions/{experiment}/fold{fold}/{subset}.csv",
    log:
        "logs/predict/{experiment}/fold{fold}/{subset}.log",
    benchmark:
        "results/benchmarks/predict/{experiment}/fold{fold}/{subset}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    threads: workflow.cores or 1
    resources:
        **cluster.predict_resources(EXPERIMENTS, SITE, tta=CONFIG.evaluation.tta),
    params:
        code=code_version("melanoma.prediction"),
        tta="--tta" if CONFIG.evaluation.tta else "",
        accelerator=get_accelerator,
    message:
        "Predicting {wildcards.subset} with {wildcards.experiment}, fold {wildcards.fold}"
    shell:
        "melanoma predict-subset --model {input.model:q} --store {input.store:q}"
        " --catalogue {input.catalogue:q} --splits {input.splits:q} --fold {wildcards.fold}"
        " --subset {wildcards.subset} {params.tta} --accelerator {params.accelerator}"
        " --output {output:q} --log {log:q}"


rule calibrate:
    """Fit temperature, prior shift and operating points on one fold's validation part alone."""
    input:
        predictions="results/predictions/{experiment}/fold{fold}/val.csv",
        catalogue="results/catalogue/train.csv",
        splits="results/splits.csv",
    output:
        "results/training/{experiment}/fold{fold}/decision.json",
    log:
        "logs/calibrate/{experiment}/fold{fold}.log",
    benchmark:
        "results/benchmarks/calibrate/{experiment}/fold{fold}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version(
            "melanoma.evaluation.calibration", "melanoma.evaluation.tables"
        ),
        settings=get_settings,
        tta=CONFIG.evaluation.tta,
    message:
        "Calibrating {wildcards.experiment}, fold {wildcards.fold}"
    script:
        "../../scripts/calibrate.py"


rule combine:
    """Join the folds, out-of-fold on validation and their mean elsewhere, with their decision."""
    input:
        **{
            subset: of_runs(
                f"results/predictions/{{experiment}}/fold{{fold}}/{subset}.csv"
            )
            for subset in SUBSETS
        },
        # Not read: asked for, so that no decision of an earlier training is left beside a model.
        own=of_runs("results/training/{experiment}/fold{fold}/decision.json"),
        # Ancient: the decision names them, and what they say is in the predictions.
        models=ancient(of_runs("results/training/{experiment}/fold{fold}/model.ckpt")),
        catalogue="results/catalogue/train.csv",
        splits="results/splits.csv",
    output:
        raw=expand("results/predictions/{{experiment}}/{subset}.csv", subset=SUBSETS),
        calibrated=expand(
            "results/predictions/{{experiment}}/{subset}_calibrated.csv",
            subset=SUBSETS,
        ),
        decision="results/predictions/{experiment}/decision.json",
    log:
        "logs/combine/{experiment}.log",
    benchmark:
        "results/benchmarks/combine/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.combine", "melanoma.evaluation.tables"),
        settings=get_settings,
        subsets=SUBSETS,
        runs=get_runs,
        tta=CONFIG.evaluation.tta,
    message:
        "Combining the folds of {wildcards.experiment}"
    script:
        "../../scripts/combine.py"


rule combine_official:
    """The mean of all models on the official test set; raw, and calibrated by their decision."""
    input:
        predictions=of_runs("results/predictions/{experiment}/fold{fold}/official.csv"),
        decision="results/predictions/{experiment}/decision.json",
    output:
        raw="results/predictions/{experiment}/official.csv",
        calibrated="results/predictions/{experiment}/official_calibrated.csv",
    log:
        "logs/combine_official/{experiment}.log",
    benchmark:
        "results/benchmarks/combine_official/{experiment}.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    resources:
        **cluster.table_resources(),
    params:
        code=code_version("melanoma.evaluation.combine", "melanoma.evaluation.tables"),
        runs=get_runs,
    message:
        "Combining the folds of {wildcards.experiment} on the official test set"
    script:
        "../../scripts/combine_official.py"
