"""The picture of curves: well-formed, every point drawn twice, a log scale only where values spread."""

from xml.etree import ElementTree

from loadtests.curves_picture import draw_curves

SVG = "{http://www.w3.org/2000/svg}"


def test_each_point_is_drawn_for_throughput_and_for_latency() -> None:
    picture = ElementTree.fromstring(
        draw_curves([("API <processes>", [(1, 4_000.0, 0.9), (2, 8_000.0, 0.4)]), ("length", [(7, 9_000.0, 0.5)])])
    )
    assert len(picture.findall(f".//{SVG}circle")) == 6
    assert "by API <processes>" in [text.text for text in picture.iter(f"{SVG}text")]


def test_values_that_spread_far_are_evenly_spaced() -> None:
    picture = ElementTree.fromstring(draw_curves([("n", [(1, 1.0, 1.0), (10, 1.0, 1.0), (100, 1.0, 1.0)])]))
    first, middle, last = [float(dot.get("cx", "")) for dot in picture.findall(f".//{SVG}circle")][:3]
    assert abs(2 * middle - first - last) < 0.2
