import { readFile } from "node:fs/promises";
import { fileError, PushError } from "../../errors.ts";

export type Trust = {
  /** The certificate authorities to trust. */
  readonly ca: string[];
  /** Trusts any certificate of the registry's own host. @default false */
  readonly skipVerify?: boolean;
};

export type TrustOptions = {
  /** PEM files with authorities to trust besides those of this machine. */
  readonly caFiles: readonly string[];
  readonly skipVerify: boolean;
};

/**
 * Returns the options of Bun's fetch for an address. Other hosts that the registry names, such as token servers and
 * storage, are always verified. Verification is set in any case, or `NODE_TLS_REJECT_UNAUTHORIZED` would decide.
 */
export function tlsOptions({ trust, origin }: { trust: Trust; origin: string }, { hostname }: URL) {
  if (trust.skipVerify && hostname === new URL(origin).hostname) return { rejectUnauthorized: false };
  return { ca: trust.ca, rejectUnauthorized: true };
}

/**
 * Collects the authorities to trust: those that come with Bun (with `NODE_EXTRA_CA_CERTS`), those of the system, where
 * a company installs its own, and those of the given files. Throws `FILE_FAILED` and `USAGE`.
 */
export async function readTrust({ caFiles, skipVerify }: TrustOptions): Promise<Trust> {
  const own = await Promise.all(caFiles.map(readAuthorities));
  let ca: string[] | undefined;
  return {
    skipVerify,
    // Loaded when TLS is first used: it takes 20 ms, a good part of a push that sends nothing.
    get ca() {
      const { getCACertificates } = process.getBuiltinModule("node:tls");
      ca ??= [...getCACertificates("default"), ...getCACertificates("system"), ...own];
      return ca;
    },
  };
}

async function readAuthorities(path: string): Promise<string> {
  const text = await readFile(path, "utf8").catch((cause: unknown) => {
    throw fileError(cause, `read the certificate authorities in "${path}"`);
  });
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new PushError("USAGE", `"${path}" holds no certificate in PEM form.`, {
    hint: 'A PEM file has lines "-----BEGIN CERTIFICATE-----". From DER: openssl x509 -inform der -in ca.cer -out ca.pem',
  });
}
