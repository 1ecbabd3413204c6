"use strict";
// Copies the table or the text before a button, and says so on the button.
function tabbed(table) {
  return Array.from(table.rows, (row) =>
    Array.from(row.cells, (cell) => (cell.dataset.raw ?? cell.textContent).replace(/\s+/g, " ").trim()).join("\t"),
  ).join("\n");
}
async function copied(text) {
  try {
    await navigator.clipboard.writeText(text);
    return;
  } catch {
    // A page without the right to the clipboard: the old way.
  }
  const field = document.createElement("textarea");
  field.value = text;
  field.style.position = "fixed";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}
for (const button of document.querySelectorAll("button.copy")) {
  const said = button.textContent;
  button.addEventListener("click", async () => {
    const table = button.parentElement.querySelector("table");
    await copied(table ? tabbed(table) : button.parentElement.querySelector("pre").textContent);
    button.textContent = button.dataset.done;
    button.focus();
    setTimeout(() => (button.textContent = said), 1500);
  });
}
// A printed page shows everything.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
