import { describe, expect, test } from "bun:test";
import { parseTarget } from "../../src/cli/parse-target.ts";
import { PushError } from "../../src/errors.ts";
import { formatPinned } from "../../src/oci/reference.ts";

function refusal(text: string): PushError {
  try {
    parseTarget(text);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`${text} was accepted`);
}

describe("A target is accepted:", () => {
  test.each([
    ["docker://registry.example.com/app:v1", "registry.example.com/app:v1"],
    ["docker://localhost:8787/app", "localhost:8787/app:latest"],
    // The way to write a repository that begins like the path of the API.
    ["docker://registry.example.com/v2/app", "registry.example.com/v2/app:latest"],
    ["registry.example.com/team/v2/app", "registry.example.com/team/v2/app:latest"],
    ["registry.example.com/v2-app", "registry.example.com/v2-app:latest"],
    ["registry.example.com/v2:latest", "registry.example.com/v2:latest"],
    ["https://registry.me.workers.dev/my/app:v1", "registry.me.workers.dev/my/app:v1"],
  ])("%s", (text, reference) => {
    expect(formatPinned(parseTarget(text))).toBe(reference);
  });
});

describe("A mistake in a target is refused with the target that was meant:", () => {
  test.each([
    ["https://registry.example.com/v2/app", "https://registry.example.com/app"],
    ["registry.example.com/v2/my/app:v1", "registry.example.com/my/app:v1"],
    ["https://registry.example.com/v2/my/app/manifests/v1", "https://registry.example.com/my/app"],
    ["https://registry.example.com/v2/my/app/tags/list", "https://registry.example.com/my/app"],
    ["registry.example.com/app/", "registry.example.com/app"],
    ["registry.example.com/app:v1/", "registry.example.com/app:v1"],
    ["registry.example.com/app:", "registry.example.com/app"],
    ["registry.example.com:/app", "registry.example.com/app"],
    ["https://registry.example.com:/app:v1", "https://registry.example.com/app:v1"],
    ["registry.example.com//app", "registry.example.com/app"],
    ["https:/registry.example.com/app", "https://registry.example.com/app"],
    ["https://registry.example.com/app?x=1", "https://registry.example.com/app"],
    ["https://registry.example.com/v2/app/?x=1#y", "https://registry.example.com/app"],
    ["registry.example.com/app:v1+2", "registry.example.com/app:v1_2"],
    [" registry.example.com/app\n", "registry.example.com/app"],
    ["oci://registry.example.com/app", "registry.example.com/app"],
    ["docker://registry.example.com/app/", "registry.example.com/app"],
  ])("%j", (text, meant) => {
    const { code, hint } = refusal(text);
    expect([code, hint]).toEqual(["REFERENCE_INVALID", expect.stringContaining(`Did you mean "${meant}"?`)]);
    expect(() => parseTarget(meant)).not.toThrow();
  });

  test.each([
    "registry.example.com/app:",
    "registry.example.com:/app",
    "registry.example.com//app",
    "/app:v1",
    "app:",
    "",
  ])("%j looks like an unset variable", (text) => {
    expect(refusal(text).hint).toContain("Is a variable unset?");
  });

  test.each([
    "https://registry.example.com",
    "https://registry.example.com/",
    "https://registry.example.com/v2/",
    "registry.example.com/",
    "registry.me.workers.dev",
    "localhost:8787",
  ])("%j has no repository", (text) => {
    const { code, hint } = refusal(text);
    expect([code, hint]).toEqual(["REFERENCE_INVALID", expect.stringContaining("/my/app:v1")]);
  });

  test.each([
    "me:s3cret@registry.example.com/v2/app",
    "https://me:s3cret@registry.example.com/app/",
    "x@s3cret/",
  ])("%j is not quoted, because it may have a password", (text) => {
    const { message, hint } = refusal(text);
    expect(`${message} ${hint}`).not.toContain("s3cret");
  });
});
