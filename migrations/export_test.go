package migrations

// The tests run migrations of their own, whose outcome they know.
var (
	UpFrom     = up
	DownFrom   = down
	StatusFrom = status
)
