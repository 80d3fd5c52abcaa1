import { seededFraction } from "../../dev/faults/plan.ts";

/** What somebody in between may write otherwise, or stumble over. */
const AWKWARD = ["%", '"', "\\", "/", "+", " ", "ü", "'", "&", "="];
const PLAIN = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/** A secret that nobody guesses, the same for the same seed: every awkward character once, each between plain ones. */
export function randomSecret(seed: string): string {
  const plain = (i: number) => PLAIN[Math.floor(seededFraction(`${seed} ${i}`) * PLAIN.length)] ?? "";
  const shuffled = AWKWARD.toSorted(
    (a, b) => seededFraction(`${seed} ${a}`) - seededFraction(`${seed} ${b}`),
  );
  return shuffled
    .map((awkward, i) => `${plain(3 * i)}${plain(3 * i + 1)}${awkward}${plain(3 * i + 2)}`)
    .join("");
}
