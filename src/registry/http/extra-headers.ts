import { PushError } from "../../errors.ts";
import { formsOf } from "../auth/credentials.ts";

/** The user's headers by their names in lower case. They are sent to the registry's own origin alone. */
export type ExtraHeaders = Readonly<Record<string, string>>;

/** Matches the headers that chunkpush or the connection sets. */
const OWN =
  /^(?:authorization|host|user-agent|accept|accept-encoding|content-.*|transfer-encoding|connection|keep-alive|proxy-.*|te|trailer|upgrade|expect|range)$/;

/** A shorter part of a value, such as "Bearer", is no secret. */
const LEAST_PART_CHARACTERS = 16;

/** Checks headers, and converts their names to lower case. Throws `USAGE` without quoting a value. */
export function checkHeaders(headers: Readonly<Record<string, string>>): ExtraHeaders {
  const checked = Object.entries(headers).map(([given, value]) => {
    const name = given.toLowerCase();
    // The specification's token: https://www.rfc-editor.org/rfc/rfc9110#section-5.6.2
    if (!/^[!#$%&'*+.^_`|~0-9a-z-]+$/.test(name)) {
      throw new PushError("USAGE", "A header has an invalid name.", {
        hint: "A name has letters, digits and hyphens: --header 'CF-Access-Client-Id: …'",
      });
    }
    if (name === "authorization") {
      throw new PushError("USAGE", 'The header "authorization" is set from the user name and the password.', {
        hint: "Set USERNAME_REGISTRY and pipe the password in, or set REGISTRY_JWT_TOKEN.",
      });
    }
    if (OWN.test(name)) throw new PushError("USAGE", `The header "${name}" is set by chunkpush itself.`);
    const trimmed = String(value).replace(/^[ \t]+|[ \t]+$/g, "");
    if (trimmed === "") {
      throw new PushError("USAGE", `The header "${name}" has no value.`, { hint: "Is a variable unset?" });
    }
    if (!/^[\t\x20-\x7e]+$/.test(trimmed)) {
      throw new PushError(
        "USAGE",
        `The value of the header "${name}" contains a line break or a character that is not printable ASCII.`,
      );
    }
    return [name, trimmed] as const;
  });
  return Object.fromEntries(checked);
}

/** Returns the values, and their long parts, in all forms in which a server might repeat them. */
export function secretsOfHeaders(headers: ExtraHeaders, origin: string): string[] {
  const values = Object.values(headers);
  const parts = values.flatMap((value) => value.split(/[\s;,="]+/));
  const secrets = [...values, ...parts.filter((part) => part.length >= LEAST_PART_CHARACTERS)];
  // A value may be the registry's name, which every address contains.
  return secrets.filter((secret) => !origin.includes(secret)).flatMap(formsOf);
}
