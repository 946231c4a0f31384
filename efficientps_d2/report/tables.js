// Enter and space do what a click does.
function onKey(element, action) {
  element.addEventListener("keydown", event => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    action(event);
  });
}
// Sort the rows of a table by the column of a clicked heading; dashes go last.
for (const heading of document.querySelectorAll(".sortable th[data-sort]")) {
  const sort = () => {
    const table = heading.closest("table"), body = table.tBodies[0], column = heading.cellIndex;
    const text = heading.dataset.sort === "text";
    const falling = heading.getAttribute("aria-sort") === "ascending";
    for (const other of table.querySelectorAll("th")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = row => row.cells[column].textContent.trim();
    const rows = [...body.rows].sort((a, b) => {
      if (text) return value(a).localeCompare(value(b)) * (falling ? -1 : 1);
      const [x, y] = [parseFloat(value(a)), parseFloat(value(b))];
      if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
      return (x - y) * (falling ? -1 : 1);
    });
    body.append(...rows);
  };
  heading.addEventListener("click", sort);
  onKey(heading, sort);
}
