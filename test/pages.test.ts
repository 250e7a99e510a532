import { describe, expect, it } from "vitest";
import { markdown, withSection } from "./pages.js";

describe("pages", () => {
  it("align the columns of tables", () => {
    expect(
      markdown(
        ["a", "number"],
        [
          ["x | y", "1"],
          ["z", "20"],
        ],
      ),
    ).toEqual(["| a      | number |", "| ------ | ------ |", "| x \\| y | 1      |", "| z      | 20     |"]);
  });

  it("replace a section and nothing else, as often as one likes", () => {
    const page = "before\n\n<!-- a b -->\nold\n<!-- /a b -->\n\n<!-- c -->\n<!-- /c -->\n";
    const once = withSection(page, "a b", ["new", "lines"]);
    expect(once).toBe("before\n\n<!-- a b -->\n\nnew\nlines\n\n<!-- /a b -->\n\n<!-- c -->\n<!-- /c -->\n");
    expect(withSection(once, "a b", ["new", "lines"])).toBe(once);
  });

  it.each(["none", "a"])("refuse a page without the section %s", (name) => {
    expect(() => withSection("<!-- a -->\n<!-- /b -->", name, [])).toThrow(`the page has no section <!-- ${name} -->`);
  });
});
