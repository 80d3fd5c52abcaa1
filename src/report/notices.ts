import { cutName, formatAge, formatBytes, formatShare } from "../format.ts";
import { shortDigest } from "../oci/digest.ts";
import type { EventOf } from "./events.ts";
import { countOf, listNames } from "./names.ts";

type NoticeEvent = EventOf<"notice">;

/** Tells whether a notice only explains how the push works. */
export function isDetail({ code }: NoticeEvent): boolean {
  return code === "ENGINE_PUSHES" || code === "ENGINE_SAVES" || code === "STORAGE_UNREAD";
}

/** Describes a warning or note in a line. */
export function describeNotice(event: NoticeEvent): string {
  switch (event.code) {
    case "PASSWORD_AWAITED":
      return "Waiting for the password on standard input …";
    case "PASSWORD_EXPOSED":
      return "Warning: other users of this machine can see the password in --creds. Pipe it in, or log in once.";
    case "CACHE_AWAITED":
      return "Waiting for another process that prunes the cache …";
    case "LOCKS_UNAVAILABLE":
      return `Warning: file locking is unavailable in "${event.directory}" (${event.reason}): two pushes at once repeat each other's work.`;
    case "PROGRESS_NOT_SAVED":
      return `Warning: cannot save upload progress in "${event.directory}" (${event.reason}): an interrupted upload starts over.`;
    case "CACHE_DISTRUSTED": {
      const isOwned = event.why === "owner";
      return `Warning: "${event.path}" ${isOwned ? "belongs to another user" : "is writable by everybody"}, so it is not used, and its layers are compressed again. If you trust it, use ${isOwned ? "chown" : "chmod o-w"}.`;
    }
    case "INDEX_REDUCED": {
      const { platform, platforms, attestations } = event;
      const left = [
        ...(platforms.length > 0 ? [listNames(platforms)] : []),
        ...(attestations > 0 ? [countOf(attestations, "attestation")] : []),
      ];
      const pushed = platform === undefined ? "a part of the image's index" : `${cutName(platform)} alone`;
      return `Note: pushing ${pushed}, so the digest differs from that of the whole index. Left out: ${left.join(", ") || "what the engine does not have"}.`;
    }
    case "SOURCE_NAMED_OTHERWISE":
      return `Warning: ${event.path} contains ${listNames(event.names)}, but you are pushing ${event.target}.`;
    case "SOURCE_STALE":
      return describeStale(event);
    case "MANIFEST_REFUSED":
      return `Note: the registry refuses the manifest ${shortDigest(event.digest)} as it is (${event.reason}). Pushing a new one with the same content, so the digest differs.`;
    case "CACHE_FROM_MISSING":
      return `Note: no layer of ${cutName(event.image)} (--cache-from) can be reused: ${event.reason}`;
    case "DIGEST_CHANGED":
      return `Note: the digest changes from ${shortDigest(event.from)} in the source to ${shortDigest(event.to)} at the registry.`;
    case "REFERRERS_LEFT_OUT":
      return `Note: leaving out ${countOf(event.count, "attached manifest")}, such as signatures: the source lacks a part of them, or they name a digest that the image no longer has.`;
    case "BODY_REFUSED":
      return `${event.title}: request too large; retrying in chunks of ${formatBytes(event.bodyBytes)}`;
    case "STORAGE_UNREAD":
      return `Not reading the image from the engine's storage: ${event.reason}`;
    case "ENGINE_PUSHES":
      return "The engine pushes the image itself, to a registry of chunkpush on this machine.";
    case "ENGINE_SAVES":
      return `The engine saves the image: ${event.reason}`;
    case "STOPPING":
    case "STOPPED":
      return `${formatShare(event.keptBytes, event.totalBytes)} are safe at the registry.`;
  }
}

function describeStale(event: Extract<NoticeEvent, { code: "SOURCE_STALE" }>): string {
  const { path, date, names, target, newer, command } = event;
  const now = new Date();
  const facts = [
    date === undefined ? "has no date" : `was written ${formatAge(date, now)}`,
    ...(names.length > 0 ? [`contains ${listNames(names)}`] : []),
  ];
  const better =
    newer === undefined
      ? `you are pushing ${target}. To push another image`
      : `${newer.engine} has ${newer.name}, built ${formatAge(newer.date, now)}. To push that one`;
  return `Warning: ${path} ${facts.join(" and ")}, but ${better}: ${command}`;
}
