import { shellWord, toPrintable } from "../format.ts";
import { bestNamed } from "../oci/image-name.ts";
import { ofPlatform } from "../oci/platform.ts";

type Choice = {
  readonly names: readonly string[];
  readonly digests: readonly string[];
  readonly platform: string | undefined;
};

/** Returns the flag that chooses one of several images, quoted for a shell. Undefined if there is none. */
export function choiceFlags(choice: Choice, choices: readonly Choice[]): string | undefined {
  const { names, digests, platform } = choice;
  const isAlone = (found: readonly Choice[]) => found.length === 1 && found[0] === choice;
  const name = names.find((each) => toPrintable(each) === each && isAlone(bestNamed(choices, [each])));
  if (name !== undefined) return `--image ${shellWord(name)}`;
  if (platform !== undefined && isAlone(ofPlatform(choices, platform)))
    return `--platform ${shellWord(platform)}`;
  const digest = digests.find((each) => isAlone(bestNamed(choices, [each])));
  return digest && `--image ${digest}`;
}
