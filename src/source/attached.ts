import { type Content, isWhole, manifestDigestsOf } from "../oci/content.ts";
import type { Referrer } from "./files/oci-layout.ts";

/** Content about other content, and where clients look for it. */
export type Attached = {
  /** The digest of the manifest that it is about. */
  readonly subject: string;
  /** Undefined: clients ask the registry what refers to the subject. */
  readonly tag: string | undefined;
  /** Undefined if the source does not have all of it. */
  readonly content: Content | undefined;
};

/** Reads what is about some content, and what is about that in turn. */
export async function attachedTo(content: Content, referrers: readonly Referrer[]): Promise<Attached[]> {
  const known = new Set<string>(manifestDigestsOf(content));
  const attached: Attached[] = [];
  let left = referrers;
  for (;;) {
    const about = left.filter(({ subject }) => known.has(subject));
    if (about.length === 0) return attached;
    left = left.filter(({ subject }) => !known.has(subject));
    for (const { subject, tag, read } of about) {
      const found = await read();
      const isList = found.kind === "index" && tag !== undefined && !tag.includes(".");
      if (found.kind === "missing" || !(isList || isWhole(found))) {
        attached.push({ subject, tag, content: undefined });
        continue;
      }
      for (const digest of manifestDigestsOf(found)) known.add(digest);
      // Without a list of referrers, clients keep one under a tag. The registry gets what it lists.
      if (!isList) attached.push({ subject, tag, content: found });
      else for (const { content } of found.children) attached.push({ subject, tag: undefined, content });
    }
  }
}
