"""The documents: every link leads somewhere, every path, key and command that they name exists."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from melanoma import config
from melanoma.cli import _parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "config/README.md", *(ROOT / "docs").glob("*.md")])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
PATH = re.compile(r"`((?:melanoma|workflow|scripts|tests|config|docs|\.ci)/[\w./-]+)`")
SECTIONS = set(config.Config.model_fields)


def anchors(page):
    """Anchors of a page's headings, as they are made of Markdown."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = [link for link in LINK.findall(page.read_text()) if "://" not in link]
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_paths_exist(page):
    for path in PATH.findall(page.read_text()):
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_are_valid(page):
    text = page.read_text()
    blocks = re.findall(r"^ *```yaml\n(.*?)^ *```", text, re.M | re.S)
    blocks += re.findall(r"`(\w+: \{[^`]*\})`", text)
    for block in blocks:
        lines = block.splitlines()
        indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
        plain = "\n".join(line[indent:] for line in lines)
        for part in re.split(r"^# config/config\.yaml.*$", plain, flags=re.M):
            values = yaml.safe_load(part) or {}
            if set(values) <= SECTIONS:
                config.parse(values)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_exist(page):
    actions = [a for a in _parser()._actions if a.choices]
    known = {name: sub for action in actions for name, sub in action.choices.items()}
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(r"(?:^|`)melanoma ([a-z-]+)([^`\n#]*)", text, re.M):
        assert name in known, name
        options = {option for a in known[name]._actions for option in a.option_strings}
        assert set(re.findall(r"--[a-z-]+", rest.split(">")[0])) <= options, rest


def test_the_readme_is_short_and_its_pictures_small():
    text = (ROOT / "README.md").read_text()
    # Five minutes at 200 words a minute; tables and commands are skimmed.
    assert len(re.sub(r"[`|#*\-]", " ", text).split()) < 1100
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 2
    for picture in pictures:
        assert (ROOT / picture).stat().st_size < 300_000


def test_make_targets_exist():
    made = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    known = set(re.findall(r"make (\w+)", made.stdout))
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make (?:PYTHON=\S+ )?(\w+)", page.read_text(), re.M):
            assert target in known, target
