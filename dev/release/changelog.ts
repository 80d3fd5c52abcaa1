/**
 * The entry of a version in CHANGELOG.md, without its heading: the notes of the release. Throws where it is missing,
 * empty or, but for `Unreleased`, has no date.
 */
export function changesOf(changelog: string, version: string): string {
  for (const section of changelog.split(/^## /m).slice(1)) {
    const [heading = "", ...lines] = section.split("\n");
    const [, name, rest = ""] = /^\[([^\]]+)\](.*)$/.exec(heading) ?? [];
    if (name !== version) continue;
    if (version !== "Unreleased" && !/^ - \d{4}-\d\d-\d\d$/.test(rest))
      throw new Error(`CHANGELOG.md: the heading of ${version} must be "## [${version}] - YYYY-MM-DD".`);
    const notes = lines.join("\n").trim();
    if (notes === "") throw new Error(`CHANGELOG.md says nothing about ${version}.`);
    return `${notes}\n`;
  }
  throw new Error(`CHANGELOG.md has no section "## [${version}]".`);
}
