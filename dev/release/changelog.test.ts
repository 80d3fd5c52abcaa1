import { describe, expect, test } from "bun:test";
import { changesOf } from "./changelog.ts";

const CHANGELOG = `# Changelog

## [Unreleased]

- next

## [1.10.0] - 2026-11-27

### Added

- this

## [1.1.0] - 2026-10-01

- that

## [1.0.0]

- without a date

## [0.9.0] - 2026-01-01

## [0.8.0] - 2025-01-01

- last
`;

describe("The notes of a release", () => {
  test.each([
    ["Unreleased", "- next\n"],
    ["1.10.0", "### Added\n\n- this\n"],
    ["1.1.0", "- that\n"],
    ["0.8.0", "- last\n"],
  ])("are the changelog's section of the version %s", (version, notes) => {
    expect(changesOf(CHANGELOG, version)).toBe(notes);
  });

  test.each([
    ["2.0.0", "no section"],
    ["1.1", "no section"],
    ["1.0.0", "YYYY-MM-DD"],
    ["0.9.0", "says nothing"],
  ])("cannot be made for version %s: its section is missing, undated or empty", (version, complaint) => {
    expect(() => changesOf(CHANGELOG, version)).toThrow(complaint);
  });
});
