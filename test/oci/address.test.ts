import { describe, expect, test } from "bun:test";
import { isLinkLocal, isLoopback } from "../../src/oci/address.ts";

const urlOf = (host: string) => new URL(`http://${host}/`);

describe("isLoopback", () => {
  test.each([
    "localhost",
    "LOCALHOST:8787",
    "localhost.",
    "app.localhost",
    "app.localhost:8787",
    "127.0.0.1",
    "127.0.0.1.",
    "127.0.0.1:5000",
    "127.0.0.2",
    "127.255.255.254",
    "127.1",
    "0x7f000002",
    "2130706433",
    "[::1]",
    "[::1]:5000",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:2]:5000",
  ])("knows %s for this machine", (host) => {
    expect(isLoopback(urlOf(host))).toBe(true);
    expect(isLinkLocal(urlOf(host))).toBe(false);
  });

  test.each([
    "127.0.0.1.evil.com",
    "127.0.0.1.evil.com:5000",
    "localhost.evil.com",
    "evillocalhost",
    "evil-localhost:5000",
    "127.evil.com",
    "128.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "[::2]",
    "[::11]:5000",
    "[fe80::1]",
    "[::ffff:128.0.0.1]",
    "[1::ffff:127.0.0.1]",
    "registry.example.com",
  ])("takes %s for another machine", (host) => {
    expect(isLoopback(urlOf(host))).toBe(false);
  });
});

describe("isLinkLocal", () => {
  test.each([
    "169.254.169.254",
    "169.254.0.1:8080",
    "0xa9fea9fe",
    "2852039166",
    "0251.0376.0251.0376",
    "169.254.43518",
    "[fe80::1]",
    "[febf::1]:80",
    "[FE80:0:0:0:1:2:3:4]",
    "[::ffff:169.254.169.254]",
    "[::ffff:a9fe:1]",
    "[::169.254.169.254]",
    "[64:ff9b::169.254.169.254]",
    "[fd00:ec2::254]",
    "[fd00:0ec2:0:0:0:0:0:0254]",
    "100.100.100.200",
    "[::ffff:100.100.100.200]",
    "metadata.google.internal",
    "METADATA.google.internal.",
  ])("knows %s for an address of the link", (host) => {
    expect(isLinkLocal(urlOf(host))).toBe(true);
  });

  test.each([
    "169.253.169.254",
    "169.255.0.1",
    "10.169.254.1",
    "169.254.169.254.example.com",
    "[fec0::1]",
    "[fe8::1]",
    "[fd00:ec2::253]",
    "[a::fe80:1]",
    "100.100.100.201",
    "registry.example.com",
  ])("does not take %s for an address of the link", (host) => {
    expect(isLinkLocal(urlOf(host))).toBe(false);
  });
});
