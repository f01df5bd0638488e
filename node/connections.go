package node

import (
	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/jobs/chores"
)

// OwnConnections is the most connections to PostgreSQL that a node takes for its own work, on top of MaxConnections for
// calls. The help text of --max-connections, and docs/operations.md, say this number.
const OwnConnections = jobs.OwnConnections + chores.Connections
