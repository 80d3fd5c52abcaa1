/** What an executable's own headers say of it: format, processor, and the loader or the signature it needs. */
import { checkSignature } from "./mach-signature.ts";

const ELF = 0x7f454c46;
const MACH_O_64 = 0xfeedfacf;
const ELF_MACHINES: Readonly<Record<number, string>> = { 62: "x64", 183: "arm64" };
const MACH_O_MACHINES: Readonly<Record<number, string>> = { 16777223: "x64", 16777228: "arm64" };
const PE_MACHINES: Readonly<Record<number, string>> = { 34404: "x64", 43620: "arm64" };
const PT_INTERP = 3;
const PE_32_PLUS = 0x20b;

/** Such as `ELF x64 /lib64/ld-linux-x86-64.so.2`, as targets.ts has it. Throws on anything else. */
export function formatOf(bytes: Buffer): string {
  if (bytes.readUInt32BE(0) === ELF)
    return `ELF ${machine(ELF_MACHINES, bytes.readUInt16LE(18))} ${loaderOf(bytes)}`;
  if (bytes.readUInt32LE(0) === MACH_O_64) {
    checkSignature(bytes);
    return `Mach-O ${machine(MACH_O_MACHINES, bytes.readUInt32LE(4))} signed`;
  }
  if (bytes.toString("latin1", 0, 2) === "MZ") {
    const header = bytes.readUInt32LE(0x3c);
    const isPe = bytes.toString("latin1", header, header + 4) === "PE\0\0";
    if (!isPe || bytes.readUInt16LE(header + 24) !== PE_32_PLUS) throw new Error("not a 64-bit PE file");
    return `PE ${machine(PE_MACHINES, bytes.readUInt16LE(header + 4))}`;
  }
  throw new Error("not an executable");
}

function machine(names: Readonly<Record<number, string>>, value: number): string {
  const name = names[value];
  if (name === undefined) throw new Error(`unknown processor 0x${value.toString(16)}`);
  return name;
}

/** The program interpreter: it tells glibc from musl. */
function loaderOf(elf: Buffer): string {
  const [table, size, count] = [Number(elf.readBigUInt64LE(32)), elf.readUInt16LE(54), elf.readUInt16LE(56)];
  for (let i = 0; i < count; i++) {
    const entry = table + i * size;
    if (elf.readUInt32LE(entry) !== PT_INTERP) continue;
    const start = Number(elf.readBigUInt64LE(entry + 8));
    return elf.toString("latin1", start, start + Number(elf.readBigUInt64LE(entry + 32)) - 1);
  }
  throw new Error("no program interpreter");
}
