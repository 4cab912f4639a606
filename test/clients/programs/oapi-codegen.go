// With the package that oapi-codegen makes.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"example.test/clients/api"
)

func main() {
	ctx := context.Background()
	client, err := api.NewClientWithResponses(os.Getenv("POSTHORN_URL"), api.WithRequestEditorFn(
		func(_ context.Context, request *http.Request) error {
			request.Header.Set("Authorization", "Bearer "+os.Getenv("POSTHORN_KEY"))
			return nil
		}))
	check(err)

	var custom api.CustomRetryPolicy
	check(custom.FromScheduleRetryPolicy(api.ScheduleRetryPolicy{Schedule: []float64{1, 2}}))
	var policy api.RetryPolicy
	check(policy.FromCustomRetryPolicy(custom))
	inactive, description := false, "oapi-codegen"
	created, err := client.CreateSubscriptionWithResponse(ctx, nil, api.SubscriptionRequest{
		TargetUrl: os.Getenv("TARGET_URL"), IsActive: &inactive, RetryPolicy: &policy,
	})
	check(err)
	if created.JSON201 == nil {
		panic(string(created.Body))
	}

	_, err = client.UpdateSubscriptionWithResponse(ctx, created.JSON201.Id,
		api.UpdateSubscriptionRequest{Description: &description})
	check(err)

	sent, err := client.SendEventWithResponse(ctx, nil, api.EventRequest{
		EventType: "order.paid", Payload: map[string]int{"order": 42},
	})
	check(err)

	missing, err := client.GetEventStatusWithResponse(ctx, created.JSON201.Id)
	check(err)
	line, err := json.Marshal(map[string]any{
		"subscription": created.JSON201.Id, "event": sent.JSON202.Id, "status": sent.JSON202.Status,
		"problem": missing.ApplicationproblemJSON404.Code,
	})
	check(err)
	fmt.Println(string(line))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
