"""What is asked of pages in a browser on which one types a text."""

from typing import Any

# The layout of a page at its narrowest: nothing needs scrolling sideways.
FITS = "document.documentElement.scrollWidth <= document.documentElement.clientWidth"

# The lowest contrast of text with its background (WCAG 2.2, 1.4.3), marks blended with the page.
CONTRASTS = """
() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const blended = (colours) => {
    context.clearRect(0, 0, 1, 1);
    for (const colour of colours) { context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    return [...context.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const luminance = (rgb) => {
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = rgb.map((channel) => linear(channel / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  let least = 21;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.checkVisibility()) continue;
    const backgrounds = [];
    for (let above = element; above; above = above.parentElement) {
      backgrounds.unshift(getComputedStyle(above).backgroundColor);
    }
    const back = luminance(blended(backgrounds));
    const front = luminance(blended([...backgrounds, getComputedStyle(element).color]));
    least = Math.min(least, (Math.max(back, front) + 0.05) / (Math.min(back, front) + 0.05));
  }
  return least;
}
"""


def field(page: Any) -> Any:
    return page.get_by_role("textbox", name="Your text")


def answered(page: Any, label: str) -> None:
    """Wait for an answer and the explanation of the words."""
    page.locator("#label", has_text=label).wait_for()
    page.locator("#answer:not([aria-busy])").wait_for()


def marks(page: Any) -> list[tuple[str, str]]:
    found = page.locator("#words mark").all()
    return [(mark.inner_text(), mark.get_attribute("class")) for mark in found]
