import { expect, test } from "bun:test";
import { workflowCommand } from "../../src/report/github.ts";

test("A command of GitHub Actions escapes line breaks, colons, commas and percents in its message and its properties", () => {
  expect(workflowCommand("error", "50%\r\n::error::b", { title: "a:b,c%\nd" })).toBe(
    "::error title=a%3Ab%2Cc%25%0Ad::50%25%0D%0A::error::b",
  );
  expect(workflowCommand("endgroup")).toBe("::endgroup::");
});
