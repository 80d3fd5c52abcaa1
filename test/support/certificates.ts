import { join } from "node:path";

export type Certificate = { readonly key: string; readonly cert: string };

export type Authority = {
  /** The file that clients may be told to trust. */
  readonly path: string;
  /** Makes a certificate for 127.0.0.1, unless it is told another name or a time that is over. */
  issue(options?: { altName?: string; endDate?: string }): Promise<Certificate>;
};

const CONFIG = `
[ca]
default_ca = tests
[tests]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
`;

/** Makes a certificate authority of our own, with openssl, in a folder that is the caller's. */
export async function createAuthority(folder: string): Promise<Authority> {
  const file = (name: string) => join(folder, name);
  await Bun.write(file("tests.cnf"), CONFIG);
  await Bun.write(file("index.txt"), "");
  await openssl(folder, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", "ca.key");
  const authority = [
    "-config",
    "tests.cnf",
    "-extensions",
    "authority",
    "-subj",
    "/CN=Authority of the tests",
  ];
  await openssl(
    folder,
    "req",
    "-x509",
    "-new",
    "-key",
    "ca.key",
    "-days",
    "2",
    ...authority,
    "-out",
    "ca.pem",
  );
  let issued = 0;
  return {
    path: file("ca.pem"),
    async issue({ altName = "IP:127.0.0.1", endDate } = {}) {
      const name = `leaf-${++issued}`;
      await Bun.write(file(`${name}.ext`), `subjectAltName=${altName}\n`);
      await openssl(folder, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", `${name}.key`);
      const request = ["-new", "-config", "tests.cnf", "-subj", `/CN=${name}`, "-key", `${name}.key`];
      await openssl(folder, "req", ...request, "-out", `${name}.csr`);
      const dates =
        endDate === undefined ? ["-days", "2"] : ["-startdate", "20200101000000Z", "-enddate", endDate];
      const files = ["-in", `${name}.csr`, "-out", `${name}.pem`, "-cert", "ca.pem", "-keyfile", "ca.key"];
      const extensions = ["-extfile", `${name}.ext`];
      await openssl(
        folder,
        "ca",
        "-batch",
        "-notext",
        "-config",
        "tests.cnf",
        ...files,
        ...dates,
        ...extensions,
      );
      return {
        key: await Bun.file(file(`${name}.key`)).text(),
        cert: await Bun.file(file(`${name}.pem`)).text(),
      };
    },
  };
}

/** A certificate that nobody but itself vouches for. */
export async function createSelfSigned(folder: string): Promise<Certificate> {
  const [key, cert] = [join(folder, "self.key"), join(folder, "self.pem")];
  await Bun.write(join(folder, "self.cnf"), "[req]\ndistinguished_name = name\n[name]\n");
  await openssl(folder, "ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", key);
  const subject = ["-config", "self.cnf", "-subj", "/CN=self", "-addext", "subjectAltName=IP:127.0.0.1"];
  await openssl(folder, "req", "-x509", "-new", "-key", key, "-days", "2", ...subject, "-out", cert);
  return { key: await Bun.file(key).text(), cert: await Bun.file(cert).text() };
}

async function openssl(cwd: string, ...args: string[]): Promise<void> {
  const child = Bun.spawn(["openssl", ...args], { cwd, stdin: "ignore", stdout: "ignore", stderr: "pipe" });
  const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
  if (code !== 0) throw new Error(`openssl ${args.join(" ")} ended with ${code}: ${stderr}`);
}
