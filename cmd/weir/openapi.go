package main

import "github.com/weirhq/weir/api"

type openapiCommand struct {
	Version string `help:"The version of OpenAPI: 3.1, or 3.0 for generators that know no better." default:"3.1" enum:"3.0,3.1"`
}

// Run prints the description that a node serves at /openapi.json, without a node.
func (c *openapiCommand) Run(std streams) error {
	text, err := api.OpenAPI(c.Version)
	if err != nil {
		return err
	}
	_, err = std.out.Write(append(text, '\n'))
	return err
}
