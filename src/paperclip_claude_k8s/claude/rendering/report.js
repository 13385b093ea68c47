"use strict";
(() => {
  const field = document.getElementById("query");
  const count = document.getElementById("count");
  const main = document.querySelector("main");
  let entries = null; // each element, and its text in lower case, which the first search reads
  let hits = [];
  let current = -1;

  function search() {
    const wanted = field.value.trim().toLowerCase();
    entries ||= Array.from(main.querySelectorAll(".e"), (element) => ({ element, text: null }));
    mark(-1); // no hit
    hits = [];
    if (wanted) {
      for (const entry of entries) {
        entry.text ??= entry.element.textContent.toLowerCase();
        if (entry.text.includes(wanted)) hits.push(entry.element);
      }
      // of nested entries only the innermost
      hits = hits.filter((element, index) => index + 1 === hits.length || !element.contains(hits[index + 1]));
    }
    count.textContent = wanted ? `${hits.length} found` : "";
  }

  function mark(index) {
    if (hits[current]) hits[current].classList.remove("hit");
    current = index;
    const element = hits[index];
    if (window.CSS && CSS.highlights) CSS.highlights.delete("found");
    if (!element) return;
    for (let outer = element; outer; outer = outer.parentElement) if (outer.tagName === "DETAILS") outer.open = true;
    element.classList.add("hit");
    count.textContent = `${index + 1} of ${hits.length}`;
    const ranges = rangesIn(element, field.value.trim().toLowerCase());
    if (ranges.length > 0 && window.CSS && CSS.highlights) CSS.highlights.set("found", new Highlight(...ranges));
    element.scrollIntoView({ block: "start" }); // the browser has no layout of distant parts before it scrolls there
    const range = ranges.find((each) => each.getClientRects().length > 0); // not the folded preview
    if (!range) return;
    const box = range.startContainer.parentElement.closest("pre");
    if (box) box.scrollTop += topOf(range) - topOf(box) - box.clientHeight / 2;
    scrollBy(0, topOf(range) - innerHeight / 2);
  }

  const topOf = (place) => place.getBoundingClientRect().top;

  function rangesIn(element, wanted) {
    const ranges = [];
    const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
    while (wanted && ranges.length < 1000 && walker.nextNode()) {
      const text = walker.currentNode.data.toLowerCase();
      if (text.length !== walker.currentNode.data.length) continue; // positions in lower case would differ
      for (let at = text.indexOf(wanted); at >= 0 && ranges.length < 1000; at = text.indexOf(wanted, at + wanted.length)) {
        const range = document.createRange();
        range.setStart(walker.currentNode, at);
        range.setEnd(walker.currentNode, at + wanted.length);
        ranges.push(range);
      }
    }
    return ranges;
  }

  // Without a current hit, a step back goes to the last hit.
  const step = (by) => {
    if (hits.length > 0) mark((current + by + hits.length + (current < 0 && by < 0 ? 1 : 0)) % hits.length);
  };
  const setAll = (open) => {
    for (const details of main.querySelectorAll("details")) details.open = open;
  };

  let timer = 0;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      search();
      step(1);
    }, 250);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter") step(event.shiftKey ? -1 : 1);
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target === field || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    field.focus();
  });
  document.getElementById("next").addEventListener("click", () => step(1));
  document.getElementById("previous").addEventListener("click", () => step(-1));
  document.getElementById("unfold").addEventListener("click", () => setAll(true));
  document.getElementById("fold").addEventListener("click", () => setAll(false));

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = Array.from(main.querySelectorAll("details:not([open])"));
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
})();
