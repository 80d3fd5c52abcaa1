import { describe, expect, test } from "bun:test";
import { answer, reset } from "./fault.ts";
import { allOf, faultAlways, faultAt, faultAtRequest, seededFaults } from "./plan.ts";
import { kindOf, type RequestKind } from "./request-kind.ts";

const DIGEST = `sha256:${"0".repeat(64)}`;
const UPLOAD = "/v2/team/app/blobs/uploads/5e55";

describe("A fault plan classifies requests by method, path and headers:", () => {
  test.each<[string, string, Record<string, string>, RequestKind]>([
    ["GET", "/token", {}, "token"],
    ["POST", "/auth/token", {}, "token"],
    ["GET", "/v2/", {}, "ping"],
    ["HEAD", `/v2/team/app/blobs/${DIGEST}`, {}, "head-blob"],
    ["GET", `/v2/team/app/blobs/${DIGEST}`, {}, "other"],
    ["POST", "/v2/team/app/blobs/uploads/", {}, "start-upload"],
    ["PATCH", UPLOAD, { "content-range": "0-99" }, "first-patch"],
    ["PATCH", UPLOAD, { "content-range": "100-199" }, "middle-patch"],
    ["PATCH", UPLOAD, { "content-range": "150-249" }, "middle-patch"],
    ["PATCH", UPLOAD, { "content-range": "200-249" }, "last-patch"],
    ["PATCH", UPLOAD, {}, "last-patch"],
    ["PUT", UPLOAD, { "content-length": "0" }, "closing-put"],
    ["PUT", UPLOAD, {}, "closing-put"],
    ["PUT", UPLOAD, { "content-length": "250" }, "whole-put"],
    ["GET", UPLOAD, {}, "upload-status"],
    ["DELETE", UPLOAD, {}, "other"],
    ["PUT", "/v2/team/app/manifests/v1", {}, "put-manifest"],
    ["GET", "/v2/team/app/manifests/v1", {}, "other"],
    ["GET", "/", {}, "other"],
  ])("%s %s with %j", (method, path, headers, kind) => {
    // Of two blobs, one ends where a chunk of the other could.
    const blobBytes = path === UPLOAD && headers["content-range"] === "150-249" ? [400] : [250];
    expect(kindOf({ method, path, headers: new Headers(headers) }, blobBytes)).toBe(kind);
  });
});

describe("A fault plan", () => {
  const request = (kind: RequestKind, occurrence: number, number = occurrence) => ({
    kind,
    occurrence,
    number,
  });
  const fault = answer(503);

  test("for one request leaves the others alone", () => {
    const plan = faultAt("ping", 2, fault);
    expect(plan(request("ping", 2))).toBe(fault);
    expect(plan(request("ping", 1))).toBeUndefined();
    expect(plan(request("head-blob", 2))).toBeUndefined();
    expect(faultAtRequest(7, fault)(request("ping", 1, 7))).toBe(fault);
    expect(faultAtRequest(7, fault)(request("ping", 7, 1))).toBeUndefined();
  });

  test("can apply to a kind of requests, and be made of several plans", () => {
    const first = reset("before");
    const plan = allOf(faultAt("ping", 1, first), faultAlways("ping", fault));
    expect([1, 2, 3].map((occurrence) => plan(request("ping", occurrence)))).toEqual([first, fault, fault]);
    expect(plan(request("put-manifest", 1))).toBeUndefined();
  });

  test("from a seed is the same every time, differs for another seed, and hits its share of requests", () => {
    const faults = [500, 502, 503].map((status) => answer(status));
    const planned = (seed: number) => {
      const plan = seededFaults(seed, 0.3, (kind) => (kind === "ping" ? [] : faults));
      return Array.from({ length: 1000 }, (_, i) => plan(request("middle-patch", i + 1))?.name);
    };
    expect(planned(1)).toEqual(planned(1));
    expect(planned(1)).not.toEqual(planned(2));
    const met = planned(1).filter((name) => name !== undefined);
    expect(met.length).toBeGreaterThan(250);
    expect(met.length).toBeLessThan(350);
    expect(new Set(met)).toEqual(new Set(["500", "502", "503"]));
    const spared = seededFaults(1, 1, (kind) => (kind === "ping" ? [] : faults));
    expect(spared(request("ping", 1))).toBeUndefined();
    expect(spared(request("other", 1))).toBeDefined();
  });
});
