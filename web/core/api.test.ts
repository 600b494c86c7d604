import { describe, expect, it } from "vitest";
import { Api, type TransportRequest } from "./api.ts";
import { Problem, Unreachable } from "./problem.ts";

interface Answer {
  status: number;
  body: string;
  headers?: Record<string, string>;
}

function apiThat(...answers: (Answer | null)[]): { api: Api; asked: TransportRequest[] } {
  const asked: TransportRequest[] = [];
  const api = new Api(async (request) => {
    asked.push(request);
    const answer = answers.shift();
    if (answer === undefined || answer === null) throw new TypeError("no network");
    return { status: answer.status, header: (name) => answer.headers?.[name] ?? null, text: async () => answer.body };
  });
  return { api, asked };
}

describe("calls", () => {
  it("follow a list through its pages", async () => {
    const { api, asked } = apiThat(
      { status: 200, body: '{"items":[{"id":"a"}],"next_cursor":"c 1"}' },
      { status: 200, body: '{"items":[{"id":"b"}],"next_cursor":null}' },
    );
    expect((await api.workspaces()).map((each) => each.id)).toEqual(["a", "b"]);
    expect(asked[1]?.path).toBe("/api/workspaces?limit=1000&cursor=c%201");
  });

  it("make a write conditional with the quoted etag", async () => {
    const { api, asked } = apiThat({ status: 200, body: "{}" }, { status: 200, body: "{}" });
    await api.saveFile("f", "x", "abc");
    await api.saveFile("f", "x", null);
    expect(asked[0]?.headers["if-match"]).toBe('"abc"');
    expect(asked[1]?.headers["if-match"]).toBeUndefined();
  });

  it("ask for a tree again only if it is another", async () => {
    const tree = { status: 200, body: '{"files":[{"id":"a"}]}', headers: { etag: '"1-x"' } };
    const { api, asked } = apiThat(
      tree,
      { status: 304, body: "" },
      { ...tree, headers: { etag: '"2-x"' } },
      tree,
      tree,
    );
    const first = await api.workspace("w");
    expect(await api.workspace("w")).toBe(first);
    expect(await api.workspace("w")).not.toBe(first);
    await api.workspace("v");
    await api.workspace("w");
    expect(asked.map((request) => request.headers["if-none-match"])).toEqual([
      undefined,
      '"1-x"',
      '"1-x"',
      undefined,
      undefined,
    ]);
  });

  it("keep the pages of a tree each for itself", async () => {
    const pages = [
      { status: 200, body: '{"items":[{"id":"a"}],"next_cursor":"c"}', headers: { etag: '"1-x"' } },
      { status: 200, body: '{"items":[{"id":"b"}],"next_cursor":null}', headers: { etag: '"1-y"' } },
    ];
    const unchanged = { status: 304, body: "" };
    const { api, asked } = apiThat(...pages, unchanged, unchanged);
    const first = await api.files("w");
    expect(await api.files("w")).toEqual(first);
    expect(asked.slice(2).map((request) => request.headers["if-none-match"])).toEqual(['"1-x"', '"1-y"']);
  });

  it("tell a refusal from no answer", async () => {
    const body = '{"status":412,"code":"version_conflict","detail":"Changed.","request_id":"r"}';
    const { api } = apiThat(
      { status: 412, body },
      { status: 502, body: "<html>", headers: { "retry-after": "3" } },
      null,
    );
    await expect(api.saveFile("f", "x", "e")).rejects.toMatchObject({ status: 412, code: "version_conflict" });
    await expect(api.me()).rejects.toMatchObject({ status: 502, code: "http_502", retryAfter: 3 });
    await expect(api.me()).rejects.toBeInstanceOf(Unreachable);
    expect(new Problem(404, "x", "y")).toBeInstanceOf(Error);
  });
});
