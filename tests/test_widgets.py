"""The data behind each explorer, what it ships, and that its picture is not blank."""

from __future__ import annotations

import base64
import html
import io
import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from mamlkit.core.episodes import Episode
from mamlkit.core.errors import InputError
from mamlkit.show.widgets import EpisodeExplorer, Explorer, FitExplorer

X = np.linspace(-5, 5, 21)
STEPS = np.arange(11)


def make_fit(step: int = 0, bad: float = 1.0) -> FitExplorer:
    fits = {"MAML": np.outer(STEPS, np.sin(X)), "random": np.outer(-STEPS, np.cos(X))}
    losses = {"MAML": 2.0 * 0.5**STEPS, "random": np.where(STEPS == 4, bad, 3.0)}
    return FitExplorer(X, np.sin(X), fits, losses=losses, support=(X[::5], np.sin(X[::5])), step=step)


def make_episodes(channels: int = 1) -> EpisodeExplorer:
    generator = torch.Generator().manual_seed(0)
    episodes = [
        Episode(
            torch.rand(6, channels, 8, 8, generator=generator),
            torch.arange(3).repeat_interleave(2),
            torch.rand(3, channels, 8, 8, generator=generator),
            torch.arange(3),
        )
        for _ in range(4)
    ]
    return EpisodeExplorer(episodes, names=[[f"class {i}", "b", "c"] for i in range(4)])


def shipped(explorer: Explorer, name: str) -> np.ndarray:
    layout = explorer.spec["arrays"][name]
    kind = {"f4": "<f4", "u1": "u1"}[layout["kind"]]
    size = int(np.prod(layout["shape"]))
    return np.frombuffer(explorer.payload, kind, size, layout["offset"]).reshape(layout["shape"])


@pytest.fixture(params=["fit", "episodes"])
def explorer(request: pytest.FixtureRequest) -> Explorer:
    return make_fit() if request.param == "fit" else make_episodes()


def test_every_steps_numbers_are_shipped_as_float32() -> None:
    explorer = make_fit()
    fits = shipped(explorer, "fits")
    assert fits.shape == (2, 11, 21)
    assert np.array_equal(fits[1], np.outer(-STEPS, np.cos(X)).astype(np.float32))
    assert np.array_equal(shipped(explorer, "support_y"), np.sin(X[::5]).astype(np.float32))


def test_pixels_are_shipped_as_bytes_class_by_class() -> None:
    explorer = make_episodes()
    support, query = shipped(explorer, "support"), shipped(explorer, "query")
    assert support.dtype == np.uint8
    assert support.shape == (4, 3, 2, 1, 8, 8)
    assert query.shape == (4, 3, 1, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    first = torch.rand(6, 1, 8, 8, generator=generator)
    assert np.array_equal(support[0, 1, 1], (first[3] * 255).round().byte().numpy())


def test_a_value_that_is_not_finite_survives_in_the_bytes_and_never_enters_the_json() -> None:
    explorer = make_fit(bad=np.inf)
    assert np.isinf(shipped(explorer, "losses")[1, 4])
    page = explorer.html().split("<script>")[0]
    assert "1 of its values are not finite." in page
    assert "NaN" not in page
    assert "Infinity" not in page


def test_the_picture_shows_the_current_step_and_is_not_blank(explorer: Explorer) -> None:
    first = np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))
    assert first.std() > 10
    explorer.at = [3]
    second = np.asarray(Image.open(io.BytesIO(explorer.png())).convert("L"))
    assert first.shape != second.shape or (first != second).any()


def test_the_html_holds_all_numbers_the_picture_and_no_address(explorer: Explorer) -> None:
    page = explorer.html()
    spec = json.loads(html.unescape(re.search(r'data-spec="([^"]*)"', page)[1]))
    assert spec["controls"] == explorer.spec["controls"]
    assert base64.b64decode(re.search(r'data-payload="([^"]*)"', page)[1]) == explorer.payload
    assert html.unescape(re.search(r'<img alt="([^"]*)"', page)[1]) == f"{spec['title']}: {explorer.places}."
    addresses = set(re.findall(r"https?://[^\s\"']+", page)) - {"http://www.w3.org/2000/svg"}  # a name, never fetched
    assert not addresses
    assert page.count("</script>") == 1


def test_the_mime_bundle_falls_back_to_a_picture_and_to_words_without_an_address(explorer: Explorer) -> None:
    bundle, _ = explorer._repr_mimebundle_()
    assert set(bundle) == {"text/plain", "text/html", "image/png"}
    assert " at 0x" not in bundle["text/plain"]
    assert bundle["text/plain"] == repr(explorer)


def test_the_slider_keeps_its_arrow_keys_and_answers_to_a_label(explorer: Explorer) -> None:
    script = explorer._esm
    assert '"data-lm-suppress-shortcuts": "true"' in script
    assert script.rstrip().endswith("export default { render };")
    assert 'role: "img"' in script


@pytest.mark.parametrize("step", [-1, 11])
def test_a_step_that_is_not_on_the_slider_is_refused(step: int) -> None:
    with pytest.raises(InputError, match=f"inner step = {step} .* 0 to 10"):
        make_fit(step=step)


def test_starts_without_losses_are_refused() -> None:
    with pytest.raises(InputError, match="MAML"):
        FitExplorer(X, X, {"MAML": np.zeros((2, 21))}, losses={"other": np.zeros(2)}, support=(X, X))


def test_no_episode_and_too_few_names_are_refused() -> None:
    episode = Episode(torch.zeros(2, 1, 4, 4), torch.arange(2), torch.zeros(2, 1, 4, 4), torch.arange(2))
    with pytest.raises(InputError, match="empty"):
        EpisodeExplorer([])
    with pytest.raises(InputError, match="needs 2"):
        EpisodeExplorer([episode], names=[["only one"]])


def test_colour_images_keep_three_channels() -> None:
    assert shipped(make_episodes(channels=3), "support").shape == (4, 3, 2, 3, 8, 8)
    assert make_episodes(channels=3).png()


def test_the_browser_is_told_of_a_model_only_when_a_box_asks(explorer: Explorer) -> None:
    heard = []
    explorer.observe(lambda change: heard.append(change["new"]), "at")
    explorer._repr_mimebundle_()
    explorer.at = [2]
    assert explorer.comm is None
    assert heard == [[2]]
    assert explorer.model_id == explorer.comm.comm_id
    assert explorer.get_state("at") == {"at": [2]}
