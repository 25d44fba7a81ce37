// A provider of logins (OpenID Connect) for tests: oidc-provider, with its own development pages. Every account that is asked for
// is there, with any password.
//
//   node provider.mjs '{"port":9400,"client_id":"…","client_secret":"…","redirect_uri":"…","groups":{"ann":["sre"]}}'
//
// Its keys are new at each start. Codes hold for a minute, those of "slow" for a second. Groups are in the id token where "in_token" is
// said, and are told to whoever asks for the user otherwise.
import { generateKeyPairSync, randomUUID } from "node:crypto";
import Provider from "oidc-provider";

const { port, client_id, client_secret, redirect_uri, groups, in_token } = JSON.parse(process.argv[2]);
const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
const key = { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "RS256" };

const provider = new Provider(`http://127.0.0.1:${port}`, {
  clients: [{ client_id, client_secret, redirect_uris: [redirect_uri] }],
  jwks: { keys: [key] },
  pkce: { required: () => true },
  cookies: { keys: [randomUUID()] },
  claims: { openid: ["sub"], profile: ["preferred_username", "groups"] },
  conformIdTokenClaims: !in_token,
  ttl: { AuthorizationCode: (_, code) => (code.accountId === "slow" ? 1 : 60) },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, preferred_username: `${id}@example.com`, groups: groups[id] ?? [] }),
  }),
  // Nobody is asked whether the product may know who they are.
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({
      clientId: ctx.oidc.client.clientId,
      accountId: ctx.oidc.session.accountId,
    });
    grant.addOIDCScope("openid profile email");
    await grant.save();
    return grant;
  },
});
provider.listen(port, "127.0.0.1", () => console.log("ready"));
