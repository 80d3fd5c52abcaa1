import { readFile } from "node:fs/promises";
import { fileError, PushError } from "../../errors.ts";

export type Trust = {
  /** The certificate authorities to trust. */
  readonly ca: string[];
  /** Trusts any certificate of the registry's own host. @default false */
  readonly skipVerify?: boolean;
  /** The client certificate, which only the registry's own origin gets. */
  readonly client?: { readonly cert: string; readonly key: string } | undefined;
};

/** A client certificate and its key, in PEM files. */
export type ClientCertificate = {
  readonly certFile: string;
  /** @default the same file */
  readonly keyFile?: string | undefined;
};

export type TrustOptions = {
  /** PEM files with additional authorities to trust. */
  readonly caFiles: readonly string[];
  readonly skipVerify: boolean;
  readonly clientCertificate?: ClientCertificate | undefined;
};

/**
 * Returns the TLS options of Bun's fetch for an address. Other hosts than the registry's, such as token servers and storage,
 * are always verified. `rejectUnauthorized` is always set, or `NODE_TLS_REJECT_UNAUTHORIZED` would decide.
 */
export function tlsOptions({ trust, origin }: { trust: Trust; origin: string }, url: URL) {
  const client = url.origin === origin ? trust.client : undefined;
  if (trust.skipVerify && url.hostname === new URL(origin).hostname)
    return { rejectUnauthorized: false, ...client };
  return { ca: trust.ca, rejectUnauthorized: true, ...client };
}

/**
 * Collects the authorities to trust: Bun's (with `NODE_EXTRA_CA_CERTS`), the system's, where companies install their own,
 * and those of the given files. Throws `FILE_FAILED` and `USAGE`.
 */
export async function readTrust({ caFiles, skipVerify, clientCertificate }: TrustOptions): Promise<Trust> {
  const own = await Promise.all(caFiles.map((path) => readCertificates(path, "certificate authorities")));
  const client = clientCertificate && (await readClientCertificate(clientCertificate));
  let ca: string[] | undefined;
  return {
    skipVerify,
    client,
    // Loaded when TLS is first used: it takes 20 ms, a good part of a push that sends nothing.
    get ca() {
      const { getCACertificates } = process.getBuiltinModule("node:tls");
      ca ??= [...getCACertificates("default"), ...getCACertificates("system"), ...own];
      return ca;
    },
  };
}

/** Reads a certificate and its key, and checks that they belong together. */
async function readClientCertificate({ certFile, keyFile = certFile }: ClientCertificate) {
  const cert = await readCertificates(certFile, "client certificate");
  const key = await readText(keyFile, "key of the client certificate");
  const refuse = (message: string, hint: string, cause?: unknown) =>
    new PushError("USAGE", message, { hint, cause });
  if (/-----BEGIN ENCRYPTED PRIVATE KEY-----|Proc-Type: 4,ENCRYPTED/.test(key)) {
    throw refuse(
      `The key in "${keyFile}" is encrypted, which is not supported.`,
      "Decrypt it into a file that only you can read: (umask 077; openssl pkey -in key.pem -out plain.pem)",
    );
  }
  const { createPrivateKey, X509Certificate } = process.getBuiltinModule("node:crypto");
  let isPair: boolean;
  try {
    isPair = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw refuse(
      `"${certFile}" and "${keyFile}" contain no valid PEM certificate and key.`,
      'The key has a line "-----BEGIN PRIVATE KEY-----". Name both files: --cert client.pem --key client-key.pem',
      cause,
    );
  }
  if (isPair) return { cert, key };
  throw refuse(
    `The key in "${keyFile}" does not belong to the certificate in "${certFile}".`,
    "Name the certificate and the key that were created together.",
  );
}

async function readCertificates(path: string, what: string): Promise<string> {
  const text = await readText(path, what);
  if (text.includes("-----BEGIN CERTIFICATE-----")) return text;
  throw new PushError("USAGE", `"${path}" contains no PEM certificate.`, {
    hint: 'A PEM file has a line "-----BEGIN CERTIFICATE-----". To convert from DER: openssl x509 -inform der -in ca.cer -out ca.pem',
  });
}

async function readText(path: string, what: string): Promise<string> {
  return readFile(path, "utf8").catch((cause: unknown) => {
    throw fileError(cause, `read the ${what} in "${path}"`);
  });
}
