import { type Content, isWhole, manifestDigestsOf } from "../oci/content.ts";
import type { Referrer } from "./files/oci-layout.ts";

/** Content that refers to other content, such as a signature, and the tag where clients look for it. */
export type Attached = {
  /** The digest of the manifest that it refers to. */
  readonly subject: string;
  /** Undefined if clients find it in the registry's list of referrers. */
  readonly tag: string | undefined;
  /** Undefined if the source does not have all of it. */
  readonly content: Content | undefined;
};

/** Reads the referrers of some content, and the referrers of those. */
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
      // At registries without a list of referrers, clients keep one under a tag. Push the entries of that list.
      if (!isList) attached.push({ subject, tag, content: found });
      else for (const { content } of found.children) attached.push({ subject, tag: undefined, content });
    }
  }
}
