// `scimmy` as a peer: users in a Map, userName unique. node scimmy.mjs PORT
import { randomUUID } from "node:crypto";
import express from "express";
import SCIMMY from "scimmy";
import SCIMMYRouters from "scimmy-routers";

const users = new Map();
const names = new Set();

SCIMMY.Resources.declare(SCIMMY.Resources.User)
  .ingress((resource, data) => {
    const name = data.userName.toLowerCase();
    if (names.has(name)) throw new SCIMMY.Types.Error(409, "uniqueness", "userName is taken");
    const now = new Date();
    const user = { ...data, id: randomUUID(), meta: { created: now, lastModified: now } };
    names.add(name);
    users.set(user.id, user);
    return user;
  })
  .egress((resource) => (resource.id ? users.get(resource.id) : [...users.values()]))
  .degress((resource) => users.delete(resource.id));

const app = express();
app.use("/scim", new SCIMMYRouters({ type: "bearer", handler: () => "bench" }));
app.listen(Number(process.argv[2]), "127.0.0.1");
