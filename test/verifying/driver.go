package main

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"example.test/webhook"
)

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Split(lines.Text(), " ")
		for index, field := range fields {
			decoded, err := base64.StdEncoding.DecodeString(field)
			if err != nil {
				panic(err)
			}
			fields[index] = string(decoded)
		}
		named := map[string]string{}
		for _, header := range strings.Split(fields[2], "\n") {
			name, value, _ := strings.Cut(header, ": ")
			named[name] = value
		}
		function := webhook.VerifySimple
		if fields[0] == "standard" {
			function = webhook.Verify
		}
		fmt.Println(function(named, []byte(fields[3]), fields[1]))
	}
}
