import { gunzipSync } from "node:zlib";

/** What has to stay secret, by what it is called in words: `the password`. */
export type Secrets = ReadonlyMap<string, string>;

/** Where a secret may have got to, by what it is called in words: `standard error`. */
export type Places = ReadonlyMap<string, Uint8Array>;

/** Less than this of a secret may be anywhere by chance. */
const PIECE_CHARACTERS = 8;

/**
 * Looks for secrets, and for parts of them, as they are and in every form that somebody may have brought them into.
 *
 * @returns `the password (in base64) is in standard error`, once for each secret and place
 */
export function findSecrets(places: Places, secrets: Secrets): string[] {
  const wanted = [...secrets].map(([name, secret]) => {
    const forms = formsOf(secret).map(([form, said]) => [form, piecesOf(Buffer.from(said))] as const);
    return [name, forms] as const;
  });
  return [...places].flatMap(([place, bytes]) => {
    const there = new Set(piecesOf(unpacked(bytes)));
    return wanted.flatMap(([name, forms]) => {
      const form = forms.find(([, pieces]) => pieces.some((piece) => there.has(piece)))?.[0];
      return form === undefined ? [] : [`${name} (${form}) is in ${place}`];
    });
  });
}

/** A cached layer is gzip. */
function unpacked(bytes: Uint8Array): Uint8Array {
  try {
    return bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzipSync(bytes) : bytes;
  } catch {
    // Somebody was killed while writing it.
    return bytes;
  }
}

function formsOf(secret: string): [name: string, said: string][] {
  const wellFormed = secret.toWellFormed();
  const base64 = Buffer.from(secret).toString("base64");
  return [
    ["as it is", secret],
    ["in percents", encodeURIComponent(wellFormed)],
    ["as a part of an address", URL.parse(`http://a/${wellFormed}`)?.pathname.slice(1) ?? secret],
    ["as a form has it", new URLSearchParams({ s: wellFormed }).toString().slice(2)],
    ["as JSON has it", JSON.stringify(secret).slice(1, -1)],
    ["in base64", base64],
    ["in base64, in percents", encodeURIComponent(base64)],
    ["in base64url", Buffer.from(secret).toString("base64url")],
  ];
}

/** What is printed may have lost a character here and there, or its end: any part gives a secret away. */
function piecesOf(bytes: Uint8Array): string[] {
  const text = Buffer.from(bytes).toString("latin1");
  return Array.from({ length: Math.max(0, text.length - PIECE_CHARACTERS + 1) }, (_, i) =>
    text.slice(i, i + PIECE_CHARACTERS),
  );
}
