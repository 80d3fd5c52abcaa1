import { cutName } from "../format.ts";

/** An image may have thousands of names. */
const SHOWN_NAMES = 10;

/** Lists the first names, each cut, and counts the others. */
export function listNames(names: readonly string[]): string {
  const shown = names.slice(0, SHOWN_NAMES).map(cutName);
  const more = names.length - shown.length;
  return [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join(", ");
}

/** `1 layer`, `2 layers` */
export function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
