// A Go client of dreamd: opens two imagined pendulums, pushes them for ten steps, prints the rewards.
//
//	./build.sh && ./dream 127.0.0.1:7733
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"

	pb "dream/dreamdv1"
)

// The wire's float32: little-endian, row-major, without padding.
func pack(values []float32) []byte {
	bytes := make([]byte, 4*len(values))
	for i, v := range values {
		binary.LittleEndian.PutUint32(bytes[4*i:], math.Float32bits(v))
	}
	return bytes
}

func unpack(bytes []byte) []float32 {
	values := make([]float32, len(bytes)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(bytes[4*i:]))
	}
	return values
}

// One tensor of a reply, by its name.
func tensor(reply *pb.StepResponse, name string) []float32 {
	for i, t := range reply.Tensors {
		if t.Name == name {
			return unpack(reply.RawContents[i])
		}
	}
	log.Fatalf("the reply has no tensor %q", name)
	return nil
}

func run(address string) error {
	channel, err := grpc.Dial(address, grpc.WithInsecure())
	if err != nil {
		return err
	}
	defer channel.Close()
	simulation := pb.NewSimulationClient(channel)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	opened, err := simulation.OpenSession(ctx, &pb.OpenSessionRequest{
		Model: "pendulum", Rows: 2, OptionalSeed: &pb.OpenSessionRequest_Seed{Seed: 7}})
	if err != nil {
		return err
	}
	id := opened.Session.SessionId
	defer simulation.CloseSession(ctx, &pb.CloseSessionRequest{SessionId: id})

	for step := uint64(1); step <= 10; step++ {
		reply, err := simulation.Step(ctx, &pb.StepRequest{
			SessionId:      id,
			OptionalStepId: &pb.StepRequest_StepId{StepId: step}, // sent again, it is done once
			Tensors:        []*pb.Tensor{{Name: "action", Datatype: "FP32", Shape: []int64{2, 1}}},
			RawContents:    [][]byte{pack([]float32{1, -1})},
		})
		if err != nil {
			return err
		}
		fmt.Println(reply.CommittedStepId, tensor(reply, "reward"))
	}
	return nil
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: dream HOST:PORT")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}
