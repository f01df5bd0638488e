package main

import "github.com/weirhq/weir/api"

type openapiCommand struct {
	Version string `help:"Version of OpenAPI: 3.1, or 3.0 for generators that do not support it." default:"3.1" enum:"3.0,3.1"`
}

// Run prints the OpenAPI document that a node serves at /openapi.json. It needs no node.
func (c *openapiCommand) Run(std streams) error {
	text, err := api.OpenAPI(c.Version)
	if err != nil {
		return err
	}
	_, err = std.out.Write(append(text, '\n'))
	return err
}
