import { join } from "node:path";
import { createAuthority } from "../support/certificates.ts";

/** Writes a certificate for 127.0.0.1, its key, and alone in a folder the authority that signed it. @returns the paths */
export async function writeCertificates(folder: string) {
  const at = (name: string) => join(folder, name);
  const authority = await createAuthority(folder);
  const { key, cert } = await authority.issue();
  await Bun.write(at("server.key"), key);
  await Bun.write(at("server.pem"), cert);
  // skopeo takes every .crt of a folder for an authority.
  await Bun.write(at("trusted/authority.crt"), Bun.file(authority.path));
  return { certificate: at("server.pem"), key: at("server.key"), authority: at("trusted/authority.crt") };
}
