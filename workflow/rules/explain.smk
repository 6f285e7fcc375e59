rule gradcam:
    """Heat maps of right and wrong examples of each class, as a browsable gallery."""
    input:
        model=f"results/training/{MAIN.name}/fold0/model.ckpt",
        store=ancient(f"results/images/train/{MAIN.images.recipe}.npy"),
        recipe=f"results/images/train/{MAIN.images.recipe}.json",
        catalogue="results/catalogue/train.csv",
        # Without a test part, of the first fold's own validation part.
        predictions=(
            f"results/predictions/{MAIN.name}/test.csv"
            if "test" in SUBSETS
            else f"results/predictions/{MAIN.name}/fold0/val.csv"
        ),
        calibrated=f"results/predictions/{MAIN.name}/{SUBSETS[-1]}_calibrated.csv",
    output:
        report(
            directory("results/gradcam"),
            # A report in one file takes single files of a folder only.
            patterns=["{page,index}.html"],
            caption="../report/gradcam.rst",
            category=plan.category("Explanation"),
            labels={
                "figure": "1 gallery",
                "experiment": MAIN.name,
                "subset": plan.SUBSETS[SUBSETS[-1]],
            },
        ),
    log:
        "logs/gradcam.log",
    benchmark:
        "results/benchmarks/gradcam.tsv"
    retries: tries(2)
    conda:
        "../envs/melanoma.yaml"
    threads: workflow.cores or 1
    resources:
        **cluster.gradcam_resources(MAIN, CONFIG.gradcam, SITE),
    params:
        code=code_version("melanoma.explain", "melanoma.style"),
        experiment=MAIN.name,
        per_class=CONFIG.gradcam.per_class,
        method=CONFIG.gradcam.method,
        subset=SUBSETS[-1],
        # The models whose mean the predictions are.
        folds=len(RUNS[MAIN.name]) if "test" in SUBSETS else 1,
        accelerator=lambda wildcards, resources: MAIN.training.accelerator,
    message:
        "Drawing where the main experiment looked"
    shell:
        "melanoma gradcam --model {input.model:q} --store {input.store:q}"
        " --catalogue {input.catalogue:q} --predictions {input.predictions:q}"
        " --calibrated {input.calibrated:q} --subset {params.subset} --folds {params.folds}"
        " --per-class {params.per_class} --method {params.method:q}"
        " --accelerator {params.accelerator} --output {output:q} --log {log:q}"
