"use strict";
// A heading sorts its table, another click the other way round; what is missing stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button")?.addEventListener("click", () => {
    const text = head.classList.contains("text");
    const before = head.getAttribute("aria-sort");
    const up = before ? before === "descending" : text || head.classList.contains("low");
    const key = row => row.cells[column].dataset.sort;
    const order = (a, b) => text ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
    const body = table.tBodies[0];
    const rows = [...body.rows].sort((a, b) => {
      const [x, y] = [key(a), key(b)];
      if (x === "" || y === "") return (x === "") - (y === "");
      return up ? order(x, y) : order(y, x);
    });
    body.append(...rows);
    for (const other of heads) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  }));
}
