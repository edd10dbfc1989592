"""The load test itself, with three visitors for three seconds: nothing about time is asserted."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageStat

from bench.client import Client, packed_jpeg, photo
from bench.load import (
    BARE,
    FIRST,
    LIGHT,
    NETWORK,
    SWEEP,
    SWEPT,
    Answer,
    Visitor,
    measures,
    visit,
)
from tools.browser import running_app
from ui.catalogue import CONCEPTS
from ui.live.channel import pack


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_app(tmp_path_factory.mktemp("load") / "server.log") as address:
        yield address


def test_three_visitors_are_answered_and_see_their_own_photos(server) -> None:
    visitors = asyncio.run(visit([server], [concept.id for concept in CONCEPTS], 3, 3))
    assert len({visitor.client.page for visitor in visitors}) == 3
    for visitor in visitors:
        assert visitor.client.errors == []
        assert visitor.client.photos >= 1
        assert visitor.client.foreign_photos == 0
        kinds = Counter(answer.kind for answer in visitor.answers)
        assert kinds[FIRST] == 1
        assert kinds[LIGHT] + kinds[SWEEP] + kinds[NETWORK] >= 1
        assert all(answer.milliseconds is not None for answer in visitor.answers)


def test_a_bare_page_is_visited_for_comparison(tmp_path) -> None:
    with running_app(tmp_path / "bare.log", BARE) as address:
        visitors = asyncio.run(visit([address], [""], 2, 2))
    for visitor in visitors:
        assert visitor.client.controls.keys() == {"Frequency"}
        first, *moves = [answer.kind for answer in visitor.answers]
        assert first == FIRST
        assert set(moves) == {LIGHT}
        assert all(answer.milliseconds is not None for answer in visitor.answers)


def test_what_is_moved_reaches_the_page(server) -> None:
    async def move() -> str:
        async with Client(server, "optimizers", 0) as client:
            await client.open(patience=60)
            await client.change("optimizers.factor")
            return client.query

    assert "factor=" in asyncio.run(move())


def test_what_is_swept_is_on_its_page(server) -> None:
    async def keys(page: str) -> set[str]:
        async with Client(server, page, 0) as client:
            await client.open(patience=60)
            return {topic for topic, control in client.controls.items() if control.slides}

    for page, swept in SWEPT.items():
        assert {f"{page}.{key}" for key in swept} <= asyncio.run(keys(page))


def test_a_photo_of_somebody_else_is_noticed(server) -> None:
    async def look() -> Client:
        async with Client(server, "receptive_field", 5) as client:
            await client.open(patience=60)
            await client.open_chooser()
            await client.upload()
            client.number = 6  # from now on the visitor's own photo is somebody else's
            client.cached.clear()
            await client.open()
            return client

    client = asyncio.run(look())
    assert client.photos == 1
    assert client.foreign_photos >= 1


def test_what_a_page_paints_is_no_photo_of_somebody_else(server) -> None:
    async def look() -> Client:
        async with Client(server, "attention_maps", 12) as client:
            await client.open(patience=60)
            await client.open_chooser()
            await client.upload()
            return client

    client = asyncio.run(look())
    assert (client.photos, client.foreign_photos) == (1, 0)


def test_an_answer_that_never_comes_is_lost_and_counted() -> None:
    visitor = Visitor(Client("http://127.0.0.1:1", "optimizers", 0), 0)
    visitor.answers += [Answer("optimizers", LIGHT, ms) for ms in (100.0, None, 300.0)]
    found = {measure.name: measure for measure in measures([visitor])}
    assert found["Lost"].value == 1
    assert not found["Lost"].kept
    assert found[f"{LIGHT}, 2 answered"].value == 200
    assert found[f"{LIGHT}: 95 % within"].kept


@pytest.mark.parametrize("colour", [(40, 40, 40), (215, 65, 140)])
def test_a_photo_has_its_visitors_colour(colour) -> None:
    data = photo(colour)
    assert len(data) > 50_000
    found = ImageStat.Stat(Image.open(BytesIO(data))).mean
    assert found == pytest.approx(colour, abs=3)


def test_a_photo_is_told_from_numbers_that_look_like_one() -> None:
    jpeg = photo((40, 65, 90))
    numbers = np.frombuffer(b"\0" + jpeg[:7], np.uint8)
    assert packed_jpeg(pack({}, {"value": numbers})) is None
    assert packed_jpeg(pack({}, {"sent": "digest of a resource"})) is None
    found = packed_jpeg(pack({}, {"first": numbers, "value": jpeg}))
    assert found is not None
    assert found.startswith(jpeg)
