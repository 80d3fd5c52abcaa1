/** What the system's errors become. */
import { expect, test } from "bun:test";
import { fileError } from "../src/errors.ts";

const failed = (code: string) => Object.assign(new Error(`${code}: odd`), { code, syscall: "open" });
const OTHER = "choose another folder with --cache-dir";

test.each<[string, string | undefined, string | undefined]>([
  ["ENOSPC", OTHER, "Free some disk space, or choose another folder with --cache-dir."],
  ["ENOSPC", undefined, "Free some disk space."],
  ["EISDIR", undefined, "Check the path."],
  ["EMFILE", OTHER, "Choose another folder with --cache-dir."],
  ["EMFILE", undefined, undefined],
])("The hint for %s with the alternative %j is a full sentence: %j", (code, alternative, hint) => {
  expect(fileError(failed(code), "write it", alternative)).toMatchObject({ code: "FILE_FAILED", hint });
});

test("A folder in a file's place is named as one", () => {
  expect(fileError(failed("EISDIR"), "write it")).toMatchObject({
    message: "Cannot write it: a folder is in the place of a file (EISDIR).",
  });
});
