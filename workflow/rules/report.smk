rule data_pages:
    """The report's pages on the data: what was trained on, and that no lesion is in two parts."""
    input:
        page_inputs(plan.DATA),
    output:
        pages_in_report(plan.DATA),
    log:
        "logs/data_pages.log",
    benchmark:
        "results/benchmarks/data_pages.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        code=code_version("melanoma.pages"),
        captions=get_captions(plan.DATA),
        results=subpath(output[0], ancestor=2),
    message:
        "Writing the report's pages on the data"
    script:
        "../../scripts/data_pages.py"


rule experiment_pages:
    """The report's pages on one experiment: how it was trained, and what came of it."""
    input:
        page_inputs(EXPERIMENT_PAGES, "{experiment}"),
    output:
        pages_in_report(EXPERIMENT_PAGES, "{experiment}"),
    log:
        "logs/experiment_pages/{experiment}.log",
    benchmark:
        "results/benchmarks/experiment_pages/{experiment}.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        code=code_version("melanoma.pages"),
        subsets=SUBSETS,
        captions=get_captions(EXPERIMENT_PAGES),
        results=subpath(output[0], ancestor=3),
    message:
        "Writing the report's pages on {wildcards.experiment}"
    script:
        "../../scripts/experiment_pages.py"


rule metadata_page:
    """The report's page on what metadata are worth to one experiment."""
    input:
        page_inputs([plan.METADATA], "{experiment}"),
    output:
        pages_in_report([plan.METADATA], "{experiment}"),
    log:
        "logs/metadata_page/{experiment}.log",
    benchmark:
        "results/benchmarks/metadata_page/{experiment}.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        code=code_version("melanoma.pages"),
        captions=get_captions([plan.METADATA]),
        results=subpath(output[0], ancestor=3),
    message:
        "Writing the report's page on the metadata of {wildcards.experiment}"
    script:
        "../../scripts/metadata_page.py"


rule explanation_pages:
    """The report's pages on the heat maps, beside their gallery."""
    input:
        "results/gradcam",
    output:
        pages_in_report(EXPLANATION_PAGES, MAIN.name),
    log:
        "logs/explanation_pages.log",
    benchmark:
        "results/benchmarks/explanation_pages.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        code=code_version("melanoma.pages"),
        subset=SUBSETS[-1],
        captions=get_captions(EXPLANATION_PAGES),
        results=subpath(output[0], ancestor=3),
    message:
        "Writing the report's pages on the heat maps"
    script:
        "../../scripts/explanation_pages.py"


rule summary:
    """The headline figures, the comparison, the model card, and what all was made from."""
    input:
        comparison=page_inputs([plan.COMPARISON]),
        metrics=expand(
            "results/evaluation/{experiment}/metrics.json", experiment=EXPERIMENTS
        ),
        decisions=expand(
            "results/predictions/{experiment}/decision.json", experiment=EXPERIMENTS
        ),
        histories=expand(
            "results/evaluation/{experiment}/training_curves.csv",
            experiment=EXPERIMENTS,
        ),
        per_class=f"results/evaluation/{MAIN.name}/per_class.csv",
        subgroups=f"results/evaluation/{MAIN.name}/subgroups.csv",
        audit="results/splits_audit.csv",
        provenance="results/provenance.json",
        ground_truth="resources/isic2019/train/ground_truth.csv",
        archive=ancient("resources/isic2019/train/images.zip"),
        maps=explanation_targets(),
    output:
        pages=pages_in_report(plan.SUMMARY),
        opening="results/pages/opening.rst",
        card="results/MODEL_CARD.md",
    log:
        "logs/summary.log",
    benchmark:
        "results/benchmarks/summary.tsv"
    localrule: True
    conda:
        "../envs/melanoma.yaml"
    params:
        code=code_version("melanoma.pages"),
        settings=[e.result_settings() for e in EXPERIMENTS.values()],
        execution=lambda wildcards, resources: [
            e.execution_settings() for e in EXPERIMENTS.values()
        ],
        models=files_of_runs(
            MAIN.name, "results/training/{experiment}/fold{fold}/model.ckpt"
        ),
        captions=get_captions(plan.SUMMARY),
        results=subpath(output.card, parent=True),
    message:
        "Writing the headline figures and the model card"
    script:
        "../../scripts/summary.py"
