"""What a data set's files say, without Kedro: tags, masks, splits, and checks of all of them."""
