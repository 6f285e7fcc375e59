import sys
import time
from pathlib import Path
from shlex import quote

from melanoma import cluster, messages, run_lock, seeds, sources, weights
from melanoma import config as settings
from melanoma import code_version as versions
from melanoma.errors import InputError
from melanoma.evaluation import outputs
from melanoma.pages import plan
from melanoma.training import starts
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger

try:
    CONFIG = settings.parse(config)
    EXPERIMENTS = {name: CONFIG.experiment(name) for name in CONFIG.experiments}
    # Asked here, since in an input function an error would come with a traceback.
    sources.check_sources(CONFIG)
    if workflow.is_main_process:
        for each in EXPERIMENTS.values():
            weights.check_backbone(each.model)
    WEIGHTS = {
        name: weights.weights_file(each.model) for name, each in EXPERIMENTS.items()
    }
except InputError as error:
    raise WorkflowError(str(error))

SITE = cluster.Site.from_defaults(workflow.resource_settings.default_resources)
MAIN = EXPERIMENTS[CONFIG.main_experiment]
RUNS = {
    name: seeds.runs(CONFIG.splits.folds, experiment.training.seeds)
    for name, experiment in EXPERIMENTS.items()
}
SUBSETS = ["val", "test"] if CONFIG.splits.test_fraction else ["val"]
EXPERIMENT_PAGES = plan.experiment_pages(SUBSETS)
EXPLANATION_PAGES = plan.explanation_pages(SUBSETS[-1])
STARTED = time.time()
SNAKEMAKE = Path(".snakemake")
"""Snakemake's own folder, in the working directory."""

if workflow.is_main_process:
    RUN_LOCK = run_lock.outlive_kills(SNAKEMAKE)
    cluster.mend_executor()
    cluster.follow_jobs(lambda job: get_outlook(job), lambda job: tidy_after(job))


wildcard_constraints:
    set="train|test",
    subset="val|test|official",
    experiment="|".join(EXPERIMENTS),
    hair_removal="lines|dullrazor|none",
    framing="crop|pad|stretch",
    size=r"\d+",
    # Also of a further seed: see melanoma/seeds.py.
    fold=seeds.PATTERN,
    shard=r"\d+",
    shards=r"\d+",


def code_version(*modules):
    """Hash of the code behind a rule's results, made for the jobs that need it alone."""
    return lambda wildcards: versions.code_version(*modules)


onstart:
    try:
        name = getattr(workflow.scheduler._executor, "run_uuid", "")
        if orphans := cluster.begin_run(SNAKEMAKE, name):
            logger.warning(
                f"Cancelled SLURM jobs that an earlier run left: {' '.join(orphans)}"
            )
    except InputError as error:
        raise WorkflowError(str(error))
    # A training that will run again may only have to hand over what an earlier job has made.
    planned = {get_training(job) for job in workflow.dag.needrun_jobs()}
    for fold in set(Path("results/training").glob("*/fold*")) - planned:
        starts.tidy(fold)


def get_source(wildcards):
    """Where one official file of one set comes from."""
    data_set = getattr(CONFIG.data, wildcards.set)
    if data_set is None:
        raise WorkflowError(
            f"data.{wildcards.set} is not configured: name its files in config/config.yaml"
        )
    return getattr(data_set, wildcards.file.split(".")[0])


def get_sources(wildcards, resources):
    """Where a set's files come from, for messages: `resources` keeps it out of rerun triggers."""
    data_set = getattr(CONFIG.data, wildcards.set)
    return data_set.model_dump(exclude_none=True) if data_set else {}


def get_metadata(wildcards):
    """The metadata table of a set, where it has one."""
    data_set = getattr(CONFIG.data, wildcards.set)
    return (
        f"resources/isic2019/{wildcards.set}/metadata.csv"
        if data_set and data_set.metadata
        else []
    )


def get_shard_number(wildcards, resources):
    """A shard as people count, for messages; no reason to run again, as `get_sources` says."""
    return int(wildcards.shard) + 1


def get_inspected_shards(wildcards):
    """Every shard of one set's inspection."""
    return expand(
        "results/inspect/{set}/{shard}-of-{shards}.csv",
        set=wildcards.set,
        shard=range(CONFIG.images.shards),
        shards=CONFIG.images.shards,
    )


def get_image_shards(wildcards):
    """Every resized shard of one store."""
    return expand(
        "results/images/{set}/resized/{hair_removal}-{framing}-{size}/{shard}-of-{shards}.npy",
        shard=range(CONFIG.images.shards),
        shards=CONFIG.images.shards,
        allow_missing=True,
    )


def get_store(wildcards):
    """The image store that an experiment uses for a subset."""
    data_set = "test" if getattr(wildcards, "subset", "") == "official" else "train"
    return f"results/images/{data_set}/{EXPERIMENTS[wildcards.experiment].images.recipe}.npy"


def get_recipe(wildcards):
    """The recipe of the image store that an experiment uses for a subset."""
    return get_store(wildcards).removesuffix(".npy") + ".json"


def get_weights(wildcards):
    """The pretrained backbone's weights, where the experiment starts from them."""
    file = WEIGHTS[wildcards.experiment]
    return f"resources/weights/{file}" if file else []


def get_settings(wildcards):
    """The settings that decide an experiment's weights, as JSON; none that are only execution."""
    run = seeds.parse(wildcards.get("fold", "0"))
    return EXPERIMENTS[wildcards.experiment].result_settings(run.seed)


def get_launcher(wildcards, resources):
    """What starts one process per GPU in a cluster job; empty elsewhere."""
    return cluster.launcher(resources, remote=workflow.remote_exec)


def get_execution(wildcards, resources):
    """How, not what, is trained: asking for `resources` keeps it out of the rerun triggers."""
    return EXPERIMENTS[wildcards.experiment].execution_settings()


def get_tensorboard(wildcards, output):
    """Folder of a training's TensorBoard logs: under a module's prefix, as its results are."""
    root = Path(output.model).parents[4]
    return str(
        root / "logs/tensorboard" / wildcards.experiment / f"fold{wildcards.fold}"
    )


def get_accelerator(wildcards, resources):
    """The accelerator of an experiment's jobs, likewise no reason to run again."""
    return EXPERIMENTS[wildcards.experiment].training.accelerator


def get_training(job):
    """Folder of a training's results; None for other jobs."""
    # Told by its outputs: in another workflow, which has this one as a module, it has another name.
    restarts = None if job.is_group() else job.output.get("restarts")
    return Path(restarts).parent if restarts else None


def get_outlook(job):
    """What becomes of a training that has failed; other jobs are left to their `retries`."""
    folder = get_training(job)
    return starts.outlook(folder, since=STARTED) if folder else None


def tidy_after(job):
    """Remove what a training resumes from, once its results are taken over."""
    if folder := get_training(job):
        starts.tidy(folder)


def get_weights_source(wildcards):
    """Where a file of pretrained weights comes from; two sources of one name are refused."""
    models = [experiment.model for experiment in EXPERIMENTS.values()]
    try:
        return weights.source_of_file(wildcards.file, models)
    except InputError as error:
        raise WorkflowError(str(error))


def get_subset_catalogue(wildcards):
    """The catalogue that holds a subset's images."""
    data_set = "test" if wildcards.subset == "official" else "train"
    return f"results/catalogue/{data_set}.csv"


def of_runs(pattern):
    """Input function: one file per fold and seed of an experiment."""
    return lambda wildcards: files_of_runs(wildcards.experiment, pattern)


def files_of_runs(experiment, pattern):
    """One file per fold and seed of an experiment, those of the first seed first."""
    names = [run.name for run in RUNS[experiment]]
    return expand(pattern, experiment=experiment, fold=names)


def get_runs(wildcards):
    """The names of an experiment's trainings, in the order of `of_runs`."""
    return [run.name for run in RUNS[wildcards.experiment]]


def runs_with_seeds():
    """The names of the trainings of each experiment that has several seeds."""
    return {
        name: [run.name for run in runs]
        for name, runs in RUNS.items()
        if EXPERIMENTS[name].training.seeds > 1
    }


def models_with_seeds():
    """What each model of those experiments predicts where experiments are compared."""
    pattern = f"results/predictions/{{experiment}}/fold{{fold}}/{SUBSETS[-1]}.csv"
    return [path for name in runs_with_seeds() for path in files_of_runs(name, pattern)]


def tries(again, here=False):
    """Retries on a cluster, or `here` too; the submitting Snakemake's, not its jobs' own."""
    submits = here or workflow.resource_settings.nodes
    return again if submits and not workflow.remote_exec else 0


def in_report(path, caption, category, figure, experiment=None, subset=None):
    """A result that is shown in the report, with the labels that sort it there."""
    labels = {"figure": figure, "experiment": experiment, "subset": subset}
    return report(
        path,
        caption=f"../report/{caption}.rst",
        category=plan.category(category),
        labels={name: value for name, value in labels.items() if value},
    )


def pages_in_report(pages, experiment=None):
    """The report's pages, one file each; of one experiment or of all."""
    folder = f"results/pages/{experiment}" if experiment else "results/pages"
    return [
        in_report(
            f"{folder}/{page.name}.html",
            page.caption,
            page.category,
            page.title,
            experiment,
            plan.SUBSETS.get(page.subset, page.subset) if experiment else None,
        )
        for page in pages
    ]


def get_captions(pages):
    """The captions that a page repeats above its figures: name -> text."""
    names = sorted({page.caption for page in pages})
    # Asked of Snakemake, since the workflow may be a module that lies elsewhere.
    paths = {name: workflow.source_path(f"../report/{name}.rst") for name in names}
    return {
        name: Path(path).read_text(encoding="utf-8") for name, path in paths.items()
    }


def page_inputs(pages, experiment=""):
    """What pages are made of."""
    names = [name for page in pages for name in page.inputs(experiment)]
    return [f"results/{name}" for name in dict.fromkeys(names)]


def evaluation_targets():
    """Tables and figures of every experiment, and their comparison."""
    return [
        *expand(
            "results/evaluation/{experiment}/{file}",
            experiment=EXPERIMENTS,
            file=[*outputs.figure_files(SUBSETS), "training_curves.svg"],
        ),
        "results/evaluation/comparison.csv",
        "results/evaluation/comparison.svg",
    ]


def get_official_matches():
    """Official test images that are also in training, where these are looked for."""
    wanted = CONFIG.evaluation.match_official
    return ["results/catalogue/official_matches.csv"] if wanted else []


def explanation_targets():
    """Heat maps of the main experiment; metadata alone has none."""
    return ["results/gradcam"] if MAIN.model.image else []


def provenance_tables():
    """What the results are made from: their hashes are written down."""
    metadata = CONFIG.data.train.metadata
    return [
        "resources/isic2019/train/ground_truth.csv",
        *(["resources/isic2019/train/metadata.csv"] if metadata else []),
        "results/catalogue/train.csv",
        "results/splits.csv",
    ]


def provenance_results():
    """What is made and used further, likewise."""
    return [
        *(
            path
            for name in EXPERIMENTS
            for file in ("model.ckpt", "decision.json")
            for path in files_of_runs(
                name, f"results/training/{{experiment}}/fold{{fold}}/{file}"
            )
        ),
        *expand(
            "results/predictions/{experiment}/{subset}{kind}.csv",
            experiment=EXPERIMENTS,
            subset=SUBSETS,
            kind=["", "_calibrated"],
        ),
        *expand(
            "results/predictions/{experiment}/decision.json", experiment=EXPERIMENTS
        ),
        *expand("results/evaluation/{experiment}/metrics.json", experiment=EXPERIMENTS),
        "results/evaluation/comparison.csv",
    ]


def kept_results():
    """What is read for itself: a lost file is made again, although nothing else needs it.

    Not the tables of catalogue and splits: to make them again is to train everything anew.
    """
    return [
        "results/catalogue/skin_tone.csv",
        *(name for name in page_inputs(plan.DATA) if name.endswith(".png")),
        "results/provenance.json",
        *provenance_results(),
        *expand(
            "results/evaluation/{experiment}/{file}",
            experiment=EXPERIMENTS,
            file=[*outputs.table_files(SUBSETS), "training_curves.csv"],
        ),
        *expand(
            "results/evaluation/{experiment}/metadata.{kind}",
            experiment=experiments_with_metadata(),
            kind=["csv", "svg"],
        ),
    ]


def experiments_with_metadata():
    """Names of those that have metadata to lose."""
    return [e.name for e in EXPERIMENTS.values() if e.model.metadata]


def report_targets():
    """Every page of the report, and the model card."""
    pages = expand(
        "results/pages/{page}.html",
        page=[page.name for page in (*plan.DATA, *plan.SUMMARY)],
    )
    pages += expand(
        "results/pages/{experiment}/{page}.html",
        experiment=EXPERIMENTS,
        page=[page.name for page in EXPERIMENT_PAGES],
    )
    pages += expand(
        "results/pages/{experiment}/metadata.html",
        experiment=experiments_with_metadata(),
    )
    if MAIN.model.image:
        pages += [
            f"results/pages/{MAIN.name}/{page.name}.html" for page in EXPLANATION_PAGES
        ]
    return [*pages, "results/MODEL_CARD.md"]
