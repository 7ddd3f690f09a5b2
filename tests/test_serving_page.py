"""The page in a real browser: a photo dropped, a sketch seen, an eye moved, an error in words, a download."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from served import Served, photo_of, serving, sketcher_of, tiny_bank

from idemodel.files.images import decode_grey, encode_image
from idemodel.serving.settings import Access, Limits

webdriver = pytest.importorskip("selenium.webdriver")

pytestmark = [
    pytest.mark.usefixtures("one_torch_thread"),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="no Chromium here; apt-get install chromium chromium-driver",
    ),
]

DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (letter) => letter.charCodeAt(0));
const given = new DataTransfer();
given.items.add(new File([bytes], arguments[1], { type: "image/png" }));
document.getElementById("drop").dispatchEvent(
  new DragEvent("drop", { dataTransfer: given, bubbles: true, cancelable: true }));
"""
PASTE = DROP.replace('getElementById("drop")', "body").replace(
    'DragEvent("drop", { dataTransfer: given', 'ClipboardEvent("paste", { clipboardData: given'
)
CLIPBOARD = """
const told = arguments[0];
Object.defineProperty(navigator, "clipboard", { configurable: true, value: { read: async () => {
  if (!told) throw new DOMException("not allowed", "NotAllowedError");
  const bytes = Uint8Array.from(atob(told), (letter) => letter.charCodeAt(0));
  return [new ClipboardItem({ "image/png": new Blob([bytes], { type: "image/png" }) })];
} } });
"""
TOLD = """
const [where, parts] = arguments, real = window.fetch;
window.fetch = async (path, options) => {
  const answer = await real(path, options);
  if (path !== where || !answer.ok) return answer;
  return new Response(JSON.stringify({ ...(await answer.json()), ...parts }));
};
"""
CONTENT = """
const shown = document.getElementById(arguments[0]), canvas = document.createElement("canvas");
Object.assign(canvas, { width: shown.naturalWidth, height: shown.naturalHeight });
canvas.getContext("2d").drawImage(shown, 0, 0);
return canvas.toDataURL("image/png").split(",")[1];
"""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("bank")
    with serving(sketcher_of(tiny_bank(folder)), Limits(upload=200_000)) as running:
        yield running


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory, downloads: Path) -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    profile = tmp_path_factory.mktemp("profile")
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1100,1400",
                     "--disable-component-update", "--disable-background-networking", f"--user-data-dir={profile}",
                     "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"):  # fmt: skip
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


class Page:
    """The page in the browser, by the ids of its elements."""

    def __init__(self, browser: Any, served: Served) -> None:
        self.browser, self.served = browser, served
        browser.get("about:blank")
        for log in ("browser", "performance"):  # what an earlier test left is read away
            browser.get_log(log)
        browser.get(served.url)
        self.until(lambda: "pairs" in self["made-of"].text)

    def __getitem__(self, name: str) -> Any:
        return self.browser.find_element("id", name)

    def until(self, true: Callable[[], Any]) -> Any:
        """Wait until something is true, and return it."""
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.browser, 30, 0.05).until(lambda _: true())

    def drop(self, photo: bytes, name: str = "me.png", how: str = DROP) -> None:
        """Give it a photo."""
        self.browser.execute_script(how, base64.b64encode(photo).decode(), name)

    def sketched(self) -> np.ndarray:
        """The fine sketch, once it is shown."""
        loaded = "const one = document.getElementById('fine'); return one.complete && one.naturalWidth > 0"
        self.until(
            lambda: self["fine"].is_displayed() and not self["state"].text and self.browser.execute_script(loaded)
        )
        return decode_grey(base64.b64decode(self.browser.execute_script(CONTENT, "fine")), "sketch")

    def phone(self, width: int) -> None:
        """Show it as a phone of so many CSS pixels would."""
        size = {"width": width, "height": 740, "deviceScaleFactor": 1, "mobile": True}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def told(self, path: str, **parts: Any) -> None:
        """Have the page see these parts in what the server answers at a path from now on."""
        self.browser.execute_script(TOLD, path, parts)

    def messages(self) -> list[str]:
        """What the browser complains of."""
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@pytest.fixture
def page(browser: Any, served: Served) -> Iterator[Page]:
    yield Page(browser, served)
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_a_photo_dropped_becomes_the_sketch_that_the_interface_makes(page: Page, served: Served) -> None:
    page.drop(photo_of(0))
    seen = page.sketched()
    np.testing.assert_array_equal(seen, decode_grey(served.sketch(photo_of(0)).content, "sketch"))
    assert page["coarse"].is_displayed() and page["photo"].is_displayed() and page["divider"].is_displayed()
    assert "normalised" in page["warnings"].text
    assert page.messages() == []


def test_an_eye_point_moved_by_mouse_or_keys_changes_the_sketch(page: Page) -> None:
    from selenium.webdriver import ActionChains, Keys

    page.drop(photo_of(0))
    first = page.sketched()
    ActionChains(page.browser).click_and_hold(page["left-eye"]).move_by_offset(-6, 4).release().perform()
    shown = page["fine"].get_attribute("src")
    page.until(lambda: page["fine"].get_attribute("src") != shown)
    dragged = page.sketched()
    assert (first != dragged).any()
    label, shown = page["right-eye"].get_attribute("aria-label"), page["fine"].get_attribute("src")
    page["right-eye"].send_keys(Keys.SHIFT, Keys.ARROW_DOWN)
    page.until(lambda: page["fine"].get_attribute("src") != shown)
    assert page["right-eye"].get_attribute("aria-label") != label
    assert (page.sketched() != dragged).any()
    shown = page["fine"].get_attribute("src")
    page["reset-eyes"].click()
    page.until(lambda: page["fine"].get_attribute("src") != shown)
    np.testing.assert_array_equal(page.sketched(), first)


def test_pictures_of_the_page_are_not_dropped_as_photos(page: Page) -> None:
    """Nor is the photo that a quickly moved eye point leaves behind."""
    from selenium.webdriver import ActionChains

    page.drop(photo_of(0))
    page.sketched()
    for name in ("left-eye", "fine"):
        chain = ActionChains(page.browser).move_to_element(page[name]).click_and_hold()
        chain.move_by_offset(-40, 5).move_by_offset(-20, 5).release().perform()
        page.sketched()
    page.until(lambda: page["download"].get_attribute("download") == "me-sketch.png")
    page.browser.execute_async_script("setTimeout(arguments[0], 300)")  # a drop would have been taken by then
    assert page["download"].get_attribute("download") == "me-sketch.png"
    assert "faces" not in page["warnings"].text


def test_two_faces_are_a_choice(page: Page) -> None:
    one, two = (decode(photo_of(number, 250, 200)) for number in (0, 3))
    page.drop(encode_image(np.concatenate([one, two], axis=1)), "two.png")
    first = page.sketched()
    choices = page.browser.find_elements("css selector", "#faces input")
    assert len(choices) == 2 and "2 faces" in page["warnings"].text
    shown = page["fine"].get_attribute("src")
    choices[1].click()
    page.until(lambda: page["fine"].get_attribute("src") != shown)
    assert (page.sketched() != first).any()


def test_what_goes_wrong_is_said_in_words(page: Page) -> None:
    page.drop(b"no image at all", "letter.png")
    page.until(lambda: "letter.png: not a readable" in page["error"].text)
    page.drop(bytes(300_000), "large.png")
    page.until(lambda: "large.png: is larger than" in page["error"].text)
    page.drop(encode_image(np.full((90, 90, 3), 200, np.uint8)), "wall.png")
    page.until(lambda: "no face found" in page["error"].text)
    assert page["left-eye"].is_displayed()  # to be put on the eyes by hand


def test_options_download_and_paste_back(page: Page, downloads: Path, served: Served) -> None:
    page.drop(photo_of(1), "anna.png", PASTE)
    page.sketched()
    page.browser.execute_script("document.querySelector('details').open = true")
    for css, keys in (("[name=method]", "top1"), ("[name=size]", "double")):
        page.browser.find_element("css selector", css).send_keys(keys)
    page.browser.find_element("css selector", "[name=k]").send_keys("2")
    page.browser.find_element("css selector", "[name=paste_back]").click()
    page.until(lambda: page["framed"].is_displayed() and page.sketched().shape == (128, 96))
    page["download"].click()
    file = downloads / "anna-sketch.png"
    page.until(lambda: file.exists() and file.stat().st_size)
    asked = served.sketch(photo_of(1), method="top1", k=2, size="double")
    np.testing.assert_array_equal(decode_grey(file.read_bytes(), "file"), decode_grey(asked.content, "sketch"))


def test_the_divider_moves_by_keys_between_the_pictures_that_were_chosen(page: Page) -> None:
    from selenium.webdriver import Keys

    page.drop(photo_of(0))
    page.sketched()
    assert page["under"].get_attribute("src") == page["photo"].get_attribute("src")
    assert page["over"].get_attribute("src") == page["fine"].get_attribute("src")
    page["divider"].send_keys(Keys.ARROW_RIGHT * 3)
    at = "return getComputedStyle(document.getElementById('compare')).getPropertyValue('--at')"
    assert page.browser.execute_script(at) == "53%"
    page["left-of"].send_keys("coarse")
    page.until(lambda: page["under"].get_attribute("src") == page["coarse"].get_attribute("src"))
    assert page["under"].get_attribute("alt") == "Left of the divider: the coarse sketch"


def test_the_button_takes_a_picture_from_the_clipboard(page: Page) -> None:
    given = base64.b64encode(photo_of(0)).decode()
    page.browser.execute_script(CLIPBOARD, given)
    page["paste"].click()
    page.sketched()
    assert page["download"].get_attribute("download") == "pasted-sketch.png"
    page.browser.execute_script(CLIPBOARD, None)
    page["paste"].click()
    page.until(lambda: "press Ctrl+V" in page["error"].text)


def test_a_mistake_in_an_option_is_told_and_no_old_sketch_stays(page: Page) -> None:
    page.drop(photo_of(0))
    page.sketched()
    page.browser.execute_script("document.querySelector('details').open = true")
    for name, typed, says in (
        ("alpha", "e", "Alpha must be a number"),
        ("alpha", "-1", "Alpha must be 0 or more, not -1"),
        ("k", "1.5", "K must be an integer, not 1.5"),
        ("k", "400", "K must be 1 or more and at most 40, not 400"),
        ("k", "40", "only 36 positions"),  # what the server says
    ):
        field = page.browser.find_element("css selector", f"[name={name}]")
        field.send_keys(typed)
        page.until(lambda says=says: says in page["error"].text)
        assert not page["result"].is_displayed()
        field.send_keys("\b" * 5)
        page.sketched()
        page.until(lambda: page["error"].text == "")


def test_warnings_are_a_list_without_empty_lines(page: Page) -> None:
    page.told("/api/sketch", warnings=["", "too dark", " "])
    page.drop(photo_of(0))
    page.sketched()
    assert [line.text for line in page.browser.find_elements("css selector", "#warnings li")] == ["too dark"]
    page.told("/api/sketch", warnings=[])
    page["go"].click()
    page.until(lambda: not page["warnings"].is_displayed() and page.sketched().size)


TARGETS = """
const [left, right] = ["left-eye", "right-eye"].map((id) => document.getElementById(id));
left.scrollIntoView({ block: "center" });
return [left, right].map((eye) => {
  const box = eye.getBoundingClientRect();
  let seen = 0;
  for (let row = 0; row < box.height; row += 1)
    for (let column = 0; column < box.width; column += 1)
      seen += document.elementFromPoint(box.left + column + 0.5, box.top + row + 0.5) === eye;
  return seen;
});
"""


def test_on_a_phone_either_eye_can_be_grabbed_however_near_they_are(page: Page) -> None:
    from selenium.webdriver import ActionChains

    page.phone(375)
    small = np.full((900, 900, 3), 255, np.uint8)
    small[400:464, 400:448] = decode(photo_of(0))
    near = {"left": {"x": 440, "y": 430}, "right": {"x": 455, "y": 431}}
    page.told("/api/faces", faces=[{"number": 1, "eyes": near, "box": [], "score": 1}])
    page.drop(encode_image(small), "small.png")
    page.until(lambda: page["left-eye"].is_displayed() and not page["state"].text)
    assert min(page.browser.execute_script(TARGETS)) >= np.pi * 16**2  # a disc of 32 pixels across
    for eye in ("left-eye", "right-eye"):
        label = page[eye].get_attribute("aria-label")
        other = {"left-eye": "right-eye", "right-eye": "left-eye"}[eye]
        kept = page[other].get_attribute("aria-label")
        ActionChains(page.browser).click_and_hold(page[eye]).move_by_offset(0, 9).release().perform()
        page.until(lambda eye=eye, label=label: page[eye].get_attribute("aria-label") != label)
        assert page[other].get_attribute("aria-label") == kept


def test_sketch_to_photo_is_told_throughout(browser: Any, tmp_path: Path) -> None:
    from idemodel.phantom import phantom_pairs

    sketch = encode_image(next(iter(phantom_pairs(1, height=64, width=48, seed=2))).sketch)
    with serving(sketcher_of(tiny_bank(tmp_path, direction="sketch-to-photo"))) as served:
        page = Page(browser, served)
        page.drop(sketch, "anna.png")
        page.sketched()
        assert page["about"].text == "A sketch of a face becomes a photo."
        assert page["download"].text == "Download the photo (PNG)"
        assert page["download"].get_attribute("download") == "anna-photo.png"
        assert page["go"].text == "Make the photo again" and page["result-title"].text == "3. Photo"
        texts = [page[name].get_attribute("alt") for name in ("shown", "photo", "coarse", "fine", "under", "over")]
        assert texts == [
            "The sketch as it was given", "The sketch, aligned", "The coarse photo", "The fine photo",
            "Left of the divider: the sketch", "Right of the divider: the fine photo",
        ]  # fmt: skip
        assert "in grey" not in served.client.get("/openapi.json").text
        assert served.client.get("/openapi.json").json()["info"]["description"].startswith("Face sketches to photos")


def test_the_camera_gives_a_photo(page: Page) -> None:
    page["camera"].click()
    page.until(lambda: page["video"].is_displayed() and page["shoot"].is_enabled())
    page.until(lambda: page.browser.execute_script("return document.getElementById('video').videoWidth"))
    page["shoot"].click()
    page.until(lambda: "no face found" in page["error"].text)  # the fake camera shows a test picture
    assert not page["camera-view"].is_displayed()


def test_every_picture_has_a_text_and_every_control_a_name(page: Page) -> None:
    page.drop(photo_of(0))
    page.sketched()
    for css, name in (("img", "alt"), ("button.eye, video", "aria-label")):
        for one in page.browser.find_elements("css selector", css):
            assert one.get_attribute(name), one.get_attribute("id")
    for one in page.browser.find_elements("css selector", "button, select, input, a, summary"):
        assert one.accessible_name or not one.is_displayed(), one.get_attribute("outerHTML")


def test_it_works_with_the_keyboard_alone(page: Page) -> None:
    """Every control that is shown is reached by Tab, in an order that ends."""
    from selenium.webdriver import ActionChains, Keys

    page.drop(photo_of(0))
    page.sketched()
    reached = []
    page.browser.execute_script("document.activeElement.blur(); window.scrollTo(0, 0)")
    for _ in range(40):
        ActionChains(page.browser).send_keys(Keys.TAB).perform()
        reached.append(page.browser.execute_script("return document.activeElement.id"))
    assert {"choose", "paste", "camera", "left-eye", "right-eye", "options-title", "divider", "download"} <= set(
        reached
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(page: Page, scheme: str) -> None:
    page.phone(360)
    page.browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    page.drop(photo_of(0))
    page.sketched()
    page.browser.execute_script("document.querySelector('details').open = true")
    width = page.browser.execute_script("return document.documentElement.scrollWidth")
    assert width <= 360
    seen = np.asarray(Image.open(io.BytesIO(page.browser.get_screenshot_as_png())).convert("L"))
    assert (np.median(seen) < 80) == (scheme == "dark")


def test_nothing_is_asked_of_any_other_server_and_docs_work(page: Page, served: Served) -> None:
    page.drop(photo_of(0))
    page.sketched()
    page.browser.get(f"{served.url}/docs")
    page.until(lambda: page.browser.find_elements("css selector", ".opblock"))
    assert "/api/sketch" in page["docs"].text
    assert page.messages() == []
    asked = [json.loads(entry["message"])["message"] for entry in page.browser.get_log("performance")]
    urls = [one["params"]["request"]["url"] for one in asked if one["method"] == "Network.requestWillBeSent"]
    assert {f"{served.url}/api/sketch", f"{served.url}/openapi.json"} <= set(urls)
    allowed = (f"{served.url}/", f"blob:{served.url}/", "data:", "about:", "chrome:")
    assert [url for url in urls if not url.startswith(allowed)] == []


def test_a_token_comes_with_the_address_or_is_asked_for(browser: Any, tmp_path: Path) -> None:
    with serving(sketcher_of(tiny_bank(tmp_path)), access=Access(token="correct-horse")) as served:
        browser.get(served.url)
        page = Page.__new__(Page)
        page.browser, page.served = browser, served
        page.until(lambda: page["ask-token"].is_displayed() and "token" in page["error"].text)
        page["token"].send_keys("correct-horse\n")
        page.until(lambda: "pairs" in page["made-of"].text)
        browser.execute_script("sessionStorage.clear()")
        browser.get("about:blank")
        browser.get(f"{served.url}/#token=correct-horse")
        page.until(lambda: "pairs" in page["made-of"].text)
        assert "correct-horse" not in browser.current_url


def decode(photo: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(photo)).convert("RGB"))
