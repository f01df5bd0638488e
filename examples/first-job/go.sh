go mod init first
go mod edit -require=github.com/weirhq/weir@v0.0.0 -replace=github.com/weirhq/weir="$WEIR"
cp "$WEIR/examples/first-job/main.go" .
go run -mod=mod .
