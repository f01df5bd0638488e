npm --prefix "$WEIR/client/typescript" install && npm pack "$WEIR/client/typescript"
npm init --yes && npm install ./weirhq-weir-*.tgz zod@4
cp "$WEIR/examples/first-job/first.mjs" .
node first.mjs
