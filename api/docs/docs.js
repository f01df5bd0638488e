// Starts the page. In a file of its own, so that the page works under a policy that forbids inline scripts.
SwaggerUIBundle({
  url: new URL("../openapi.json", document.baseURI).href,
  dom_id: "#docs",
  deepLinking: true,
  displayRequestDuration: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  validatorUrl: "none", // otherwise the page sends the document's address to validator.swagger.io
});
