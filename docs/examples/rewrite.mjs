// Asks the service from Node, with the contract as it is: no code is generated.
//   npm install @grpc/grpc-js @grpc/proto-loader
//   node docs/examples/rewrite.mjs [target] [user] [query]
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import loader from "@grpc/proto-loader";

const [target = "127.0.0.1:50051", userId = "cleo", query = "play ago"] = process.argv.slice(2);
const proto = fileURLToPath(new URL("../../proto", import.meta.url));
const definition = loader.loadSync("rewrite/v1/rewrite.proto", {
  includeDirs: [process.env.PROTO ?? proto], enums: String, longs: Number, defaults: true,
});
const { RewriteService } = grpc.loadPackageDefinition(definition).rewrite.v1;
const client = new RewriteService(target, grpc.credentials.createInsecure());

const request = {
  interactionId: crypto.randomUUID(), userId, timestampMs: Date.now(), query, context: { hasScreen: true },
};
client.Rewrite(request, { deadline: Date.now() + 1000 }, (error, reply) => {
  // Fails open: whatever goes wrong, the assistant goes on with what it heard.
  const text = !error && reply.decision === "DECISION_REWRITE" ? reply.text : query;
  console.log(JSON.stringify({ text, reason: error ? error.code : reply.reason }));
  client.close();
});
